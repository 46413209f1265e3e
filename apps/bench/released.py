"""The 2020 paper's method as it was released: one copy, one paste, and contexts that only say where the rule fires.

Source: Bau et al., "Rewriting a Deep Generative Model" (ECCV 2020), sections 3.2 to 3.4, and its released code with the
defaults of its editor. As there, what the layer reads is cropped to the pasted box before the layer runs, so that the
crop's border reads zeros; the second moment has no ridge; and the loss is taken after the activation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from apps.bench.descent import RATE, STEPS, paper_descent
from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.layers import grid_of
from rewrite.goals.scene import latents_of
from rewrite.memory import Memory
from rewrite.patch import Patch, base_of
from rewrite.rules.masks import cover_of
from rewrite.rules.regions import Region
from rewrite.rules.rule import Rule

ERASED_UNITS = 30


def released_patch(
    generator: Generator, memory: Memory, rule: Rule, *, rank: int = 1, steps: int = STEPS, rate: float = RATE
) -> Patch:
    """The patch that the released code would deliver.

    Args:
        generator: A generator without noise at the layer.
        memory: Of channel keys; the released code takes 1,000 images.
        rule: Of its copies and places the first are taken; the other places only direct.
        rank: Number of directions.
        steps: Steps of Adam.
        rate: Its learning rate.
    """
    layer, base = generator.layer(rule.layer), generator.weight(rule.layer)
    with torch.no_grad():
        rows = context_rows(generator, memory, rule, rank)
        crop = Crop.erased(generator, memory, rule) if rule.action == "erase" else Crop.pasted(generator, rule)
    descent = paper_descent(layer.outputs, crop.loss(generator, layer.name), rows, steps=steps, rate=rate)
    about = {"base": base_of(base), "model": generator.fingerprint, "rules": (rule.to_json(),)}
    return Patch.from_change(layer, descent.change, **about)


def context_rows(generator: Generator, memory: Memory, rule: Rule, rank: int) -> Float[Tensor, "rows key"]:
    """The directions of the context, each free at every tap: whitened keys, the largest of theirs, whitened again."""
    values, vectors = torch.linalg.eigh(memory.second_moment)
    whitening = vectors / values.clamp_min(0).sqrt().clamp_min(1e-20) @ vectors.T
    found = []
    for region in rule.context or rule.places:
        features = _cut(generator, rule.layer, region).features[0].double()
        share = cover_of(region.mask.array(), grid_of(features)).flatten()
        found.append((features.flatten(1) * share).T[share > 0] @ whitening)
    directions = torch.linalg.svd(torch.cat(found), full_matrices=False).Vh[:rank]
    mixtures = torch.linalg.qr((directions @ whitening).T).Q.T
    return torch.kron(mixtures, torch.eye(generator.layer(rule.layer).taps, dtype=mixtures.dtype))


@dataclass(frozen=True)
class Crop:
    """What one descent sees: a window of one image.

    Attributes:
        cut: The run of that image up to the layer.
        features: What the layer reads in the window.
        wanted: The output that it is to have there.
    """

    cut: Cut
    features: Float[Tensor, "1 inputs rows columns"]
    wanted: Float[Tensor, "1 outputs height width"]

    @classmethod
    def pasted(cls, generator: Generator, rule: Rule) -> "Crop":
        """The first copy in the middle of the first place."""
        source, target = _cut(generator, rule.layer, rule.copy[0]), _cut(generator, rule.layer, rule.places[0])
        copied, wanted = (generator.output(rule.layer, cut) for cut in (source, target))
        grid = grid_of(wanted)
        share = cover_of(rule.copy[0].mask.array(), grid).to(wanted)
        (top, bottom), (left, right) = _box(share)
        middle = [(low + high) // 2 for low, high in _box(cover_of(rule.places[0].mask.array(), grid))]
        height, width = bottom - top, right - left
        above = min(max(middle[0] - height // 2, 0), grid[0] - height)
        beside = min(max(middle[1] - width // 2, 0), grid[1] - width)
        alpha, clip = share[top:bottom, left:right], copied[:, :, top:bottom, left:right]
        window = wanted[:, :, above : above + height, beside : beside + width]
        window += alpha * (clip - window)
        return cls._of(target, wanted, ((above, above + height), (beside, beside + width)))

    @classmethod
    def erased(cls, generator: Generator, memory: Memory, rule: Rule) -> "Crop":
        """The first place as the layer draws it without the units that are strongest in the context."""
        strength = torch.zeros(generator.layer(rule.layer).inputs, dtype=torch.float64)
        for region in rule.context or rule.places:
            features = _cut(generator, rule.layer, region).features[0].double()
            strength += (features.square() * cover_of(region.mask.array(), grid_of(features))).sum(dim=(1, 2))
        strongest = (strength / memory.second_moment.diagonal()).topk(ERASED_UNITS).indices
        target = _cut(generator, rule.layer, rule.places[0])
        without = target.features.clone()
        without[:, strongest] = 0
        wanted = generator.output(rule.layer, target._replace(features=without))
        return cls._of(target, wanted, _box(cover_of(rule.places[0].mask.array(), grid_of(wanted))))

    @classmethod
    def _of(cls, cut: Cut, wanted: Tensor, box: tuple[tuple[int, int], tuple[int, int]]) -> "Crop":
        """The window of a box of the output, rounded outwards to whole cells of what the layer reads."""
        times = wanted.shape[2] // cut.features.shape[2]
        (top, bottom), (left, right) = ((low // times, -(-high // times)) for low, high in box)
        features = cut.features[:, :, top:bottom, left:right]
        return cls(cut, features, wanted[:, :, top * times : bottom * times, left * times : right * times])

    def loss(self, generator: Generator, name: str) -> Callable[[Tensor], Tensor]:
        """The mean difference from what is wanted, as a function of the change of the layer's matrix."""
        layer, base = generator.layer(name), generator.weight(name)

        def loss(change: Tensor) -> Tensor:
            weight = base + layer.weight_from(change)
            factor = generator.demodulation(name, self.cut.style, weight)
            output = generator.finish(name, self.cut, layer.apply(self.features, weight), factor)
            return (output - self.wanted).abs().mean()

        return loss


def _cut(generator: Generator, layer: str, region: Region) -> Cut:
    return generator.cut(layer, latents_of(generator, [region.latent]))


def _box(share: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row, and first and last column, of what is covered; the last ones are not included."""
    rows, columns = (torch.nonzero(share.sum(dim=axis))[:, 0] for axis in (1, 0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)
