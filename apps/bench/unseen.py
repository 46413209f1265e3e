"""Images of the built-in generator that no rule knows, and what an edit does to them."""

from typing import NamedTuple

import numpy as np

from dissect.sources.towers import SegmenterSource
from rewrite.generators.batches import batched
from rewrite.generators.contract import Generator
from rewrite.reports.aims import Aim


class Figures(NamedTuple):
    """What an edit does to images, in percent of pixels.

    Attributes:
        efficacy: Of those that showed what is replaced: the share that shows the target now.
        strict: Of all others: the share whose concept changed.
        lenient: The same without those that became the target.
    """

    efficacy: float
    strict: float
    lenient: float


class Unseen:
    """Images with their labels, drawn once and held against every edit.

    Args:
        generator: The generator, not edited.
        count: How many images.
        first: The first seed.
    """

    def __init__(self, generator: Generator, count: int, first: int):
        self.generator, self.source = generator, SegmenterSource()
        self.parts = list(batched(range(first, first + count), 50))
        self.before = [self._labels(part) for part in self.parts]

    def figures(self, aim: Aim) -> Figures:
        """What became of the images with the generator as it is now."""
        sums = np.zeros((3, 2))
        for part, before in zip(self.parts, self.before, strict=True):
            after = self._labels(part)
            changed, outside = (before != after).any(axis=1), ~aim.at(before)
            pairs = (
                (aim.reached(before, after), aim.at(before)),
                (changed, outside),
                (changed, ~aim.region(before, after)),
            )
            sums += [[(hits & of).sum(), of.sum()] for hits, of in pairs]
        return Figures(*(100 * sums[:, 0] / sums[:, 1]).tolist())

    def _labels(self, seeds: tuple[int, ...]) -> np.ndarray:
        return self.source.label(self.generator.sample(seeds), seeds).numpy()
