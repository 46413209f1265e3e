"""Quiet places: where a rule does not fire in ordinary images, and what is written there must stay.

The marked images hold few of the things that a network draws. The second moment knows them all, but counts the places
where the rule is meant to fire among them. So a first solution is tried on ordinary images: where it writes little of
what it writes at the marks, nothing was meant to change.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation
from torch import Tensor

from rewrite.generators.batches import batched
from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer
from rewrite.goals.goal import Goal
from rewrite.goals.keys import Keys
from rewrite.goals.others import most_of

FIRST_SEED = 4_000_000
IMAGES, BATCH = 12, 4
# Of what a change writes at the marked places (the median), the share above which it fires.
FIRES = 0.25


@dataclass(frozen=True)
class Quiet:
    """Quiet places of ordinary images.

    Attributes:
        keys: Their keys, of one weight in all; images are numbered from 0.
        styles: The modulation of each image, empty for a plain layer.
    """

    keys: Keys
    styles: Float[Tensor, "images inputs"]

    def among(self, goal: Goal, total: float) -> Goal:
        """A goal of the same layer, whose hard negatives hold these places too, with a weight of all together."""
        keys = replace(self.keys, weights=self.keys.weights * total, image=self.keys.image + len(goal.styles))
        return replace(goal, others=Keys.joined([goal.others, keys]), styles=torch.cat([goal.styles, self.styles]))


@torch.no_grad()
def quiet_places(
    generator: Generator,
    layer: Layer,
    goal: Goal,
    change: Float[Tensor, "outputs group_width"],
    cuts: Iterable[Cut] | None = None,
) -> Quiet:
    """Find quiet places.

    Args:
        generator: The generator.
        layer: The goal's layer.
        goal: A goal.
        change: A first solution of it.
        cuts: What `ordinary_cuts` gave before for the layer.
    """
    added, matrix = layer.weight_from(change), layer.matrix(generator.weight(layer.name)).cpu().double()
    usual = _usual_reach(generator, layer, goal, change)
    parts, styles, first = [], [], 0
    for cut in ordinary_cuts(generator, layer) if cuts is None else cuts:
        moved = layer.apply(cut.features, added.to(cut.features))
        factor = generator.demodulation(layer.name, cut.style)
        size = (moved if factor is None else moved * factor[:, :, None, None]).norm(dim=1).cpu().double()
        offsets = generator.offset(layer.name, cut).expand(len(size), layer.outputs, *layer.output_grid)
        styles.append(torch.zeros(len(size), 0) if cut.style is None else cut.style.cpu())
        for i, positions in enumerate(_chosen(size > FIRES * usual, most_of(layer) // IMAGES, first)):
            places = positions.to(cut.features.device)
            keys = layer.keys(cut.features[i : i + 1], places[None])[0].cpu().double()
            # Of a large map, what is written at few places takes less than what is written everywhere.
            values = layer.values(keys, matrix)
            parts.append(
                Keys(
                    keys=keys,
                    values=values if factor is None else values * factor[i].cpu().double(),
                    weights=torch.ones(len(positions), dtype=torch.float64),
                    image=torch.full([len(positions)], first + i),
                    offsets=offsets[i, :, places // offsets.shape[3], places % offsets.shape[3]].T.cpu().double(),
                    position=positions,
                )
            )
        first += len(size)
    keys = Keys.joined(parts)
    return Quiet(replace(keys, weights=keys.weights / max(1, len(keys))), torch.cat(styles).double())


@torch.no_grad()
def ordinary_cuts(generator: Generator, layer: Layer) -> Iterator[Cut]:
    """Ordinary images, run up to a layer: the same for all rules."""
    for seeds in batched(range(FIRST_SEED, FIRST_SEED + IMAGES), BATCH):
        yield generator.cut(layer.name, generator.latents(seeds))


def _usual_reach(generator: Generator, layer: Layer, goal: Goal, change: Tensor) -> float:
    """What a change adds at the marked places, after the demodulation: the median of its length."""
    added = layer.values(goal.wanted.keys, change)
    if goal.styles.shape[1]:
        style = goal.styles[goal.wanted.image].to(generator.weight(layer.name))
        factor = generator.demodulation(layer.name, style)
        added = added if factor is None else added * factor.cpu().double()
    return float(added.norm(dim=1).median())


def _chosen(fires: Bool[Tensor, "images height width"], each: int, first: int) -> Iterator[Tensor]:
    """Up to `each` positions of every image that neither fire nor lie beside one that does, from fixed seeds."""
    for number, cells in enumerate(fires.numpy()):
        quiet = np.flatnonzero(np.logical_not(binary_dilation(cells, np.ones((3, 3)))))
        random = np.random.default_rng(first + number)
        yield torch.from_numpy(np.sort(random.permutation(quiet)[:each]))
