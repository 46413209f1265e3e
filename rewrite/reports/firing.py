"""Search before editing: where in any image would a rule fire?

The context's direction d, chosen as for an edit (Bau et al. 2020, eq. 12), gives a response d·k at each position that
the layer writes. It is counted in units of what ordinary keys give (the root of its mean square); its quantile among
the responses in ordinary images says how unusual it is, and so where the rule would fire first.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from rewrite.generators.batches import in_batches
from rewrite.generators.contract import Generator
from rewrite.generators.latents import Latents, numbered
from rewrite.generators.layers import Layer, Margins, beyond
from rewrite.goals.goal import build_goal
from rewrite.memory import Memory
from rewrite.rules.rule import Rule
from rewrite.solvers.directions import patch_rows, phase_metrics

RIDGE = 1e-2
SAMPLES = 200
FIRST_SEED = 3_000_000
MOST_POSITIONS = 4096


class Match(NamedTuple):
    """One image as the search ranks it.

    Attributes:
        seed: The image's seed.
        response: The strongest response in it.
        quantile: Which share of the positions of ordinary images respond less.
        place: Where in the image that is, as shares of its height and width.
    """

    seed: int
    response: float
    quantile: float
    place: tuple[float, float]


@dataclass(frozen=True)
class Search:
    """The directions of a rule's context, and how ordinary images respond to them.

    Attributes:
        generator: The generator.
        layer: The rule's layer.
        rows: The directions; their mean square response to ordinary keys is 1, and the context's is positive.
        reference: Responses in ordinary images, in order.
        ordinary: The seeds of those images.
    """

    generator: Generator
    layer: Layer
    rows: Float[Tensor, "rank key"]
    reference: Float[Tensor, " n"]
    ordinary: frozenset[int]

    def __repr__(self) -> str:
        return f"<Search at {self.layer.name}: directions={len(self.rows)}, ordinary images={len(self.ordinary)}>"

    @classmethod
    def of(
        cls,
        generator: Generator,
        memory: Memory,
        rule: Rule,
        *,
        rank: int = 1,
        samples: int = SAMPLES,
        avoid: Collection[int] = (),
        batch: int = 16,
    ) -> "Search":
        """Prepare a search.

        Args:
            generator: The generator that the rule was written on.
            memory: The second moment of the rule's layer, over either kind of keys.
            rule: Its marked places are the context.
            rank: Number of directions. With several, the response is the length of the key's part along them.
            samples: Number of ordinary images that responses are compared with.
            avoid: Seeds that are not to be among these, because they will be looked at.
            batch: Images in one run.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: Rule, memory and generator do not belong together, or the rank is out of range.
        """
        memory.check(generator, rule.layer)
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        layer = generator.layer(rule.layer)
        context = build_goal(generator, rule.with_settings(refine=0)).context
        rows = patch_rows(context, phase_metrics(ordinary_moment(memory, layer), layer), layer, rank)
        taken = set(avoid) | {place.latent.seed for place in rule.places}
        seeds = ordinary_seeds(samples, taken)
        run = in_batches(seeds, batch, lambda part: responses(generator, layer, rows, generator.latents(part)))
        found = [_some(each) for _, each in run]
        return cls(generator, layer, rows, torch.cat(found).sort().values, frozenset(seeds))

    def firing(self, seeds: Iterable[int] | Latents, batch: int = 16) -> Float[Tensor, "images height width"]:
        """A heat-map for each image: the quantile of the response, 0 to 1, upsampled to the image's size.

        Raises:
            ValueError: One of the seeds is among the ordinary images: it would be compared with itself.
        """
        maps = [self._quantiles(found) for _, found in self._run(seeds, batch)]
        together = torch.cat(maps) if maps else torch.zeros(0, *self.layer.output_grid)
        return upsampled(together, self.layer, self.generator.size)

    def strongest(self, seeds: Iterable[int] | Latents, count: int | None = None, batch: int = 16) -> list[Match]:
        """The images in which the rule would fire most, strongest first.

        Args:
            seeds: The images to rank, or latents, which are counted from 0.
            count: How many to name; all of them if left out.
            batch: Images in one run.
        """
        matches = []
        for part, found in self._run(seeds, batch):
            best = found.flatten(1).max(dim=1)
            quantiles = self._quantiles(best.values)
            for seed, response, quantile, position in zip(part, best.values, quantiles, best.indices, strict=True):
                matches.append(Match(seed, float(response), float(quantile), self._place(int(position))))
        matches.sort(key=lambda match: (-match.response, match.seed))
        return matches[:count]

    def _run(self, seeds: Iterable[int] | Latents, batch: int) -> Iterable[tuple[tuple[int, ...], Tensor]]:
        numbers, latents = numbered(seeds, self.generator.latents)
        both = [] if isinstance(seeds, Latents) else sorted(self.ordinary.intersection(numbers))
        if both:
            raise ValueError(f"seed {both[0]} is one of the ordinary images of this search: prepare it with avoid")
        return in_batches(numbers, batch, lambda part: responses(self.generator, self.layer, self.rows, latents(part)))

    def _quantiles(self, found: Tensor) -> Tensor:
        return torch.searchsorted(self.reference, found.contiguous()).to(found) / len(self.reference)

    def _place(self, position: int) -> tuple[float, float]:
        at = divmod(position, self.layer.output_grid[1])
        row, column = (share(self.layer, axis, at[axis]) for axis in (0, 1))
        return row, column


def firing(
    generator: Generator,
    memory: Memory,
    rule: Rule,
    seeds: Iterable[int] | Latents,
    *,
    rank: int = 1,
    samples: int = SAMPLES,
) -> Float[Tensor, "images height width"]:
    """Where in the images of some seeds a rule would fire: quantiles of the response, 0 to 1, at the images' size.

    The responses are compared with those of `samples` ordinary images, none of which is among `seeds`.

    Args:
        generator: The generator that the rule was written on.
        memory: The second moment of the rule's layer.
        rule: The rule.
        seeds: The images.
        rank: Number of directions of the context.
        samples: Number of ordinary images.

    Returns:
        Maps of the size of the images, from 0 to 1.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: Rule, memory and generator do not belong together, or a number is out of range.
    """
    seeds = seeds if isinstance(seeds, Latents) else list(seeds)
    avoid = () if isinstance(seeds, Latents) else seeds
    return Search.of(generator, memory, rule, rank=rank, samples=samples, avoid=avoid).firing(seeds)


def strongest(
    generator: Generator,
    memory: Memory,
    rule: Rule,
    seeds: Iterable[int] | Latents,
    count: int | None = None,
    *,
    rank: int = 1,
    samples: int = SAMPLES,
) -> list[Match]:
    """The images in which a rule would fire most, strongest first.

    Args:
        generator: The generator that the rule was written on.
        memory: The second moment of the rule's layer.
        rule: The rule.
        seeds: The images.
        count: How many to give; all if left out.
        rank: Number of directions of the context.
        samples: Number of ordinary images.

    Returns:
        The seeds with their responses, the strongest first.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: Rule, memory and generator do not belong together, or a number is out of range.
    """
    seeds = seeds if isinstance(seeds, Latents) else list(seeds)
    avoid = () if isinstance(seeds, Latents) else seeds
    return Search.of(generator, memory, rule, rank=rank, samples=samples, avoid=avoid).strongest(seeds, count)


def ordinary_moment(memory: Memory, layer: Layer) -> Float[Tensor, "key key"]:
    """The second moment over patch keys, with a ridge of a hundredth of its mean diagonal."""
    moment = memory.patch_moment(layer)
    return moment + RIDGE * moment.diagonal().mean() * torch.eye(len(moment), dtype=moment.dtype)


@torch.no_grad()
def responses(
    generator: Generator, layer: Layer, rows: Float[Tensor, "rank key"], latents: Latents
) -> Float[Tensor, "images height width"]:
    """How much each position that the layer writes responds to some directions, in some images."""
    return response(layer, rows, generator.cut(layer.name, latents).features)


@torch.no_grad()
def response(
    layer: Layer, rows: Float[Tensor, "rank key"], features: Float[Tensor, "images inputs rows columns"]
) -> Float[Tensor, "images height width"]:
    """How much each position that the layer writes responds to some directions, for the maps that it reads.

    A direction is a row of a weight, so that the layer itself, with the directions in place of its weight, gives the
    response at all positions.
    """
    detector = replace(layer, outputs=len(rows), groups=1)
    found = detector.apply(features, detector.weight_from(rows.to(features)))
    return (found[:, 0] if len(rows) == 1 else found.norm(dim=1)).float().cpu()


def upsampled(
    maps: Float[Tensor, "images rows columns"], layer: Layer, size: tuple[int, int]
) -> Float[Tensor, "images height width"]:
    """Maps over the layer's written grid, read at the middle of every pixel of the image (bilinear)."""
    return at_pixels(maps, layer.overhang, size)


def at_pixels(
    maps: Float[Tensor, "images rows columns"], overhang: Margins, size: tuple[int, int]
) -> Float[Tensor, "images height width"]:
    """Maps read at the middle of every pixel of the image (bilinear).

    A grid that extends beyond the image by `overhang` cells is cropped to it, so that a cell lies where it
    acts.
    """
    axes = []
    for axis in (0, 1):
        cells, (before, behind) = maps.shape[1 + axis], beyond(overhang, axis)
        shares = (torch.arange(size[axis], dtype=torch.float64) + 0.5) / size[axis]
        axes.append(2 * (shares * (cells - before - behind) + before) / cells - 1)
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    places = torch.stack([columns, rows], dim=-1).to(maps).expand(len(maps), *size, 2)
    return F.grid_sample(maps[:, None], places, mode="bilinear", padding_mode="border", align_corners=False)[:, 0]


def share(layer: Layer, axis: int, position: int) -> float:
    """Where the middle of a cell of the written grid lies, as a share of the image's side, 0 to 1."""
    before, behind = beyond(layer.overhang, axis)
    return min(1.0, max(0.0, (position + 0.5 - before) / (layer.output_grid[axis] - before - behind)))


def ordinary_seeds(samples: int, taken: Collection[int]) -> list[int]:
    """The first seeds from 3,000,000 on that are not taken."""
    seeds, seed = [], FIRST_SEED
    while len(seeds) < samples:
        if seed not in taken:
            seeds.append(seed)
        seed += 1
    return seeds


def _some(found: Tensor) -> Float[Tensor, " n"]:
    """Responses of a batch as one list; of large maps, the same positions of each image are drawn from a fixed seed."""
    flat = found.flatten(1)
    if flat.shape[1] > MOST_POSITIONS:
        chosen = np.random.default_rng(0).choice(flat.shape[1], MOST_POSITIONS, replace=False)
        flat = flat[:, torch.from_numpy(np.sort(chosen))]
    return flat.flatten()
