"""Regions grown around the peaks of a map, of the extent that marked regions have.

A region is a connected part above one level for all images, cut off at a share of its own peak: a level alone makes
faint places small and clear ones large. Both numbers are those that draw marked regions best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from rewrite.rules.masks import labelled_regions, regions_of

SHARES = (0.0, 0.4, 0.5, 0.6, 0.7)
LEVELS = 24
# More marked images hardly change the two numbers.
MOST_IMAGES = 12

Map = Float[np.ndarray, "height width"]
Region = Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class Growth:
    """How far a region reaches.

    Attributes:
        level: The least value of a region's pixels.
        share: Their least value in shares of the greatest in the connected part above the level.
    """

    level: float
    share: float

    @classmethod
    def like(cls, maps: Sequence[Map], masks: Sequence[Region]) -> "Growth":
        """The growth whose regions agree best with marked ones: by their IoU, on average over the images."""
        pairs = list(zip(maps, masks, strict=True))[:MOST_IMAGES]
        inside = np.concatenate([one[mask] for one, mask in pairs])
        levels = np.unique(np.quantile(inside, np.linspace(0, 0.95, LEVELS)))
        tried = [cls(float(level), share) for level, share in product(levels, SHARES)]
        return max(tried, key=lambda growth: np.mean([_iou(growth.reached(one), mask) for one, mask in pairs]))

    def reached(self, one: Map) -> Region:
        """The pixels of all regions of a map."""
        above = one > self.level
        if self.share == 0 or not above.any():
            return above
        parts, count = labelled_regions(above)
        peaks = np.asarray(ndimage.maximum(one, parts, np.arange(count + 1)))
        return above & (one >= self.share * peaks[parts])

    def regions(self, one: Map) -> list[Region]:
        """The regions of a map: those that hold the peak of a connected part above the level."""
        reached = regions_of(self.reached(one))
        parts, count = labelled_regions(one > self.level)
        peaks = np.asarray(ndimage.maximum(one, parts, np.arange(count + 1)))
        return [region for region in reached if one[region].max() >= peaks[parts[region][0]]]


def _iou(one: Region, other: Region) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))
