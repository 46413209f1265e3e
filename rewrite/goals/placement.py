"""Which copy goes to a place, how far it moves, and how it is scaled to fit.

Positions are shares of the image's height and width, so that a placement moves maps of a layer, pictures and masks
alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from rewrite.generators.layers import Layer, Margins, beyond
from rewrite.rules.masks import Mask, cover
from rewrite.rules.regions import Region
from rewrite.rules.rule import Rule

# A place that is much smaller or larger than the copy says where, not how large.
MOST_TIMES, LARGEST_SCALE = 2.5, 1.5
UNSCALED = (1.0, 1.0)
MOST_COMPARED = 64


@dataclass(frozen=True)
class Placement:
    """A copy on its way to a place.

    Attributes:
        copy: The region that is copied.
        at: The anchor of the copy, down and right.
        to: The anchor of the place.
        scale: How many times taller and wider the copy becomes.
    """

    copy: Region
    at: tuple[float, float]
    to: tuple[float, float]
    scale: tuple[float, float] = UNSCALED

    @classmethod
    def of(cls, layer: Layer, rule: Rule, place: Region) -> "Placement":
        """The copy that fits a place best: it moves by the nearest to whole cells; or, scaled, it covers it best.

        Of scaled copies that cover it alike, the one that is scaled least is taken.
        """
        found = [cls.between(copy, place, rule.anchor, rule.fit) for copy in rule.copy]
        if rule.fit == "none":
            return min(found, key=lambda each: each._misfit(layer))
        return max(found, key=lambda each: (round(each._overlap(place), 2), -each._stretch()))

    @classmethod
    def between(cls, copy: Region, place: Region, anchor: str, fit: str) -> "Placement":
        """How one copy goes to one place."""
        scale = fitting_scale(copy.mask, place.mask) if fit == "box" else UNSCALED
        return cls(copy, anchor_of(copy.mask, anchor), anchor_of(place.mask, anchor), scale)

    def cells(self, values: Float[Tensor, "*units height width"], layer: Layer) -> Float[Tensor, "*units height width"]:
        """Move a map that the layer writes; unscaled, by whole cells, so that no value is mixed with others."""
        if self.scale == UNSCALED:
            down, right = (round(self._way(axis) * layer_cells(layer, axis)) for axis in (0, 1))
            return shifted(values, down, right)
        return self._sampled(values, layer.overhang, "bilinear")

    def pixels(self, picture: Float[Tensor, "colours height width"]) -> Float[Tensor, "colours height width"]:
        """Move a picture; unscaled, by whole pixels."""
        if self.scale == UNSCALED:
            return shifted(picture, *(round(self._way(axis) * picture.shape[1 + axis]) for axis in (0, 1)))
        return self._sampled(picture, 0.0, "bilinear")

    def mask(self, size: Sequence[int]) -> Bool[np.ndarray, "height width"]:
        """The moved mask of the copy, in pixels of an image of this size."""
        mask = torch.from_numpy(self.copy.mask.resized((size[0], size[1])))
        if self.scale == UNSCALED:
            return shifted(mask, *(round(self._way(axis) * size[axis]) for axis in (0, 1))).numpy()
        return (self._sampled(mask[None].float(), 0.0, "nearest")[0] > 0.5).numpy()

    def share(self, layer: Layer) -> Float[Tensor, "height width"]:
        """What share of each cell of the layer's written map the moved copy covers."""
        if self.scale == UNSCALED:
            return self.cells(cover(self.copy.mask.array(), layer), layer)
        return cover(self.mask(self.copy.mask.size), layer)

    def _way(self, axis: int) -> float:
        return self.to[axis] - self.at[axis]

    def _stretch(self) -> float:
        return sum(math.log(each) ** 2 for each in self.scale)

    def _overlap(self, place: Region) -> float:
        """Intersection over union of the moved copy and a place, on a grid that is fine enough to tell."""
        copy, there = self._sampled(coarse(self.copy.mask), 0.0, "nearest"), coarse(place.mask)
        return float(torch.minimum(copy, there).sum() / torch.maximum(copy, there).sum().clamp(min=1e-12))

    def _misfit(self, layer: Layer) -> float:
        exact = [self._way(axis) * layer_cells(layer, axis) for axis in (0, 1)]
        return sum((each - round(each)) ** 2 for each in exact)

    def _sampled(self, values: Tensor, overhang: Margins, mode: str) -> Tensor:
        """A map read where each of its cells comes from; the map sticks out of the image by `overhang` cells."""
        axes = []
        for axis, cells in enumerate(values.shape[-2:]):
            before, behind = beyond(overhang, axis)
            shares = (torch.arange(cells, dtype=torch.float64) + 0.5 - before) / (cells - before - behind)
            origin = (shares - self.to[axis]) / self.scale[axis] + self.at[axis]
            axes.append(2 * (origin * (cells - before - behind) + before) / cells - 1)
        rows, columns = torch.meshgrid(*axes, indexing="ij")
        grid = torch.stack([columns, rows], dim=-1).to(values)[None]
        return F.grid_sample(values[None], grid, mode=mode, padding_mode="zeros", align_corners=False)[0]


@lru_cache(maxsize=1024)
def coarse(mask: Mask) -> Float[Tensor, "1 height width"]:
    """What share of each cell of a coarse grid a mask covers."""
    array = torch.from_numpy(mask.array())[None].float()
    height, width = (min(side, MOST_COMPARED) for side in mask.size)
    return F.adaptive_avg_pool2d(array, (height, width))


def fitting_scale(copy: Mask, place: Mask) -> tuple[float, float]:
    """How a copy is scaled so that its box becomes that of a place, within bounds."""
    times = [to / at for at, to in zip(_sides(copy), _sides(place), strict=True)]
    if not all(1 / MOST_TIMES <= each <= MOST_TIMES for each in times):
        return UNSCALED
    down, right = (min(max(each, 1 / LARGEST_SCALE), LARGEST_SCALE) for each in times)
    return down, right


def _sides(mask: Mask) -> tuple[float, float]:
    """Height and width of a mask's box, as shares of the image."""
    top, bottom, left, right = mask.box
    return (bottom - top + 1) / mask.size[0], (right - left + 1) / mask.size[1]


def layer_cells(layer: Layer, axis: int) -> float:
    """How many cells of the written map span the image along an axis."""
    return layer.output_grid[axis] - sum(beyond(layer.overhang, axis))


def anchor_of(mask: Mask, anchor: str) -> tuple[float, float]:
    """The anchoring point of a mask, as shares of the image's height and width."""
    top, bottom, left, right = mask.box
    row = bottom + 1 if anchor == "bottom" else (top + bottom + 1) / 2
    return row / mask.size[0], (left + right + 1) / 2 / mask.size[1]


def shifted(values: Tensor, down: int, right: int) -> Tensor:
    """Move a map by whole cells; what comes in from outside is zero."""
    height, width = values.shape[-2:]
    moved = torch.zeros_like(values)
    if abs(down) >= height or abs(right) >= width:
        return moved
    rows_to = slice(max(0, down), min(height, height + down))
    rows_from = slice(max(0, -down), min(height, height - down))
    columns_to = slice(max(0, right), min(width, width + right))
    columns_from = slice(max(0, -right), min(width, width - right))
    moved[..., rows_to, columns_to] = values[..., rows_from, columns_from]
    return moved
