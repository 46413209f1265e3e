"""Ordinary images of which nothing is known: what hardly moves in them was not meant to move.

A rule is to fire in some of them, and nobody has marked where. So small changes are held back, and the more a pixel has
changed, the less: a bounded loss, as for outliers (Dennis and Welsch 1978), to which a place that turned is one.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.batches import batched
from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer
from rewrite.goals.quiet import FIRST_SEED
from rewrite.goals.shown import drawn_with

IMAGES, BATCH = 32, 2
# Fewer of a large network: their runs up to the layer take no more bytes than this.
MOST_BYTES = 2**28
# Of colours in [-1, 1]: a pixel that moved by several times this much is let go.
SMALL = 0.05


@dataclass(frozen=True)
class Still:
    """Ordinary images, run up to a layer, in parts.

    Attributes:
        cuts: The runs.
        before: What they look like.
    """

    cuts: list[Cut]
    before: list[Float[Tensor, "images 3 height width"]]

    @classmethod
    @torch.no_grad()
    def of(cls, generator: Generator, layer: Layer) -> "Still":
        """The same images for all rules of a generator's layer."""
        each = (layer.inputs * layer.grid[0] * layer.grid[1] + 3 * generator.size[0] * generator.size[1]) * 4
        seeds = range(FIRST_SEED, FIRST_SEED + max(BATCH, min(IMAGES, MOST_BYTES // each)))
        cuts = [generator.cut(layer.name, generator.latents(some)) for some in batched(seeds, BATCH)]
        weight = generator.weight(layer.name)
        return cls(cuts, [drawn_with(generator, layer, cut, weight) for cut in cuts])

    def moved(self, part: int, generator: Generator, layer: Layer, weight: Tensor) -> Tensor:
        """How much moved in a part of the images, with a weight of the layer; parts are counted round.

        Mean over pixels of c (1 - exp(-d / c)), with d the mean of a pixel's three absolute changes.
        """
        number = part % len(self.cuts)
        step = drawn_with(generator, layer, self.cuts[number], weight) - self.before[number]
        return SMALL * (1 - torch.exp(-step.abs().mean(dim=1) / SMALL)).mean()
