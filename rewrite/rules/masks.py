"""Regions of an image: masks as run-lengths, their connected parts, and their share of each cell of a layer's grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor

from rewrite.generators.layers import Layer, Margins, beyond

LARGEST_SIDE = 4096


@dataclass(frozen=True)
class Mask:
    """A region of an image, row by row as runs of (first pixel, number of pixels).

    Raises:
        ValueError: The mask is empty, too large, or its runs leave the image, touch or are out of order.
    """

    size: tuple[int, int]
    runs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        height, width = self.size
        if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
            raise ValueError(f"a mask is 1 to {LARGEST_SIDE} pixels high and wide, got {height} x {width}")
        if not self.runs:
            raise ValueError("a mask must select at least one pixel, got an empty one")
        end = -1
        for start, length in self.runs:
            if start <= end or length < 1 or start + length > height * width:
                raise ValueError(
                    f"runs of a mask must be in order, apart, and inside its {height * width} pixels, "
                    f"got a run of {length} at {start}"
                )
            end = start + length

    def __repr__(self) -> str:
        height, width = self.size
        return f"<Mask of {height} x {width}: pixels={sum(length for _, length in self.runs)}>"

    @classmethod
    def from_array(cls, array: np.ndarray) -> "Mask":
        """The mask of the true pixels of a two-dimensional array.

        Raises:
            ValueError: The array has not two dimensions, or no true pixel.
        """
        array = np.asarray(array, dtype=bool)
        if array.ndim != 2:
            raise ValueError(f"a mask has two dimensions, got {array.ndim}")
        padded = np.concatenate([[False], array.reshape(-1), [False]]).astype(np.int8)
        edges = np.flatnonzero(np.diff(padded)).reshape(-1, 2)
        return cls(tuple(array.shape), tuple((int(a), int(b - a)) for a, b in edges))

    def array(self) -> np.ndarray:
        """The mask as a boolean array of its size."""
        flat = np.zeros(self.size[0] * self.size[1], dtype=bool)
        for start, length in self.runs:
            flat[start : start + length] = True
        return flat.reshape(self.size)

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """First and last row and column (inclusive) that hold a selected pixel."""
        rows, columns = np.nonzero(self.array())
        return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())

    def resized(self, size: tuple[int, int]) -> np.ndarray:
        """The mask at another size, a whole multiple or part of its own: a pixel is selected if half of it is."""
        array = self.array()
        if self.size[0] < size[0]:
            ratio = size[0] // self.size[0]
            return np.kron(array, np.ones((ratio, ratio), dtype=bool))
        ratio = self.size[0] // size[0]
        return array.reshape(size[0], ratio, size[1], ratio).mean(axis=(1, 3)) >= 0.5

    def check_size(self, size: Sequence[int]) -> None:
        """Refuse a mask that was not drawn on an image of this size, or on one scaled by a whole number.

        Raises:
            ValueError: The sides have no whole-number ratio.
        """
        height, width = self.size
        ratio = max(size[0] / height, height / size[0])
        if size[0] * width != size[1] * height or ratio != round(ratio):
            raise ValueError(f"the image is {size[0]} x {size[1]} pixels, but a mask of {height} x {width} was given")


def labelled_regions(mask: Bool[np.ndarray, "height width"]) -> tuple[Int[np.ndarray, "height width"], int]:
    """The connected parts of a mask, numbered from 1 on, and how many there are."""
    regions = np.empty(mask.shape, dtype=np.int32)
    # With a place to write to, scipy gives the number alone.
    return regions, int(cast(int, ndimage.label(mask, output=regions)))


def regions_of(mask: Bool[np.ndarray, "height width"]) -> list[Bool[np.ndarray, "height width"]]:
    """The connected parts of a mask, each as a mask of the same size."""
    regions, count = labelled_regions(mask)
    return [regions == number for number in range(1, count + 1)]


def cover(mask: np.ndarray, layer: Layer) -> Float[Tensor, "height width"]:
    """What share of each cell of the layer's written map a mask covers, 0 to 1.

    The map may stick out of the image by `layer.overhang` cells; what lies outside is not covered.
    """
    return cover_of(mask, layer.output_grid, layer.overhang)


def cover_of(mask: np.ndarray, grid: tuple[int, int], overhang: Margins = 0.0) -> Float[Tensor, "height width"]:
    """What share of each cell of a grid a mask covers, 0 to 1; the grid sticks out of the image by `overhang`."""
    shares = np.asarray(mask, dtype=np.float64)
    for axis, cells in enumerate(grid):
        shares = _shares(shares, axis, cells, beyond(overhang, axis))
    return torch.from_numpy(shares)


def _shares(values: np.ndarray, axis: int, cells: int, overhang: tuple[float, float]) -> np.ndarray:
    pixels, shown = values.shape[axis], cells - sum(overhang)
    edges = (np.arange(cells + 1) - overhang[0]) * pixels / shown
    cumulative = np.concatenate([np.zeros_like(np.take(values, [0], axis)), np.cumsum(values, axis)], axis)
    low = np.clip(np.floor(edges).astype(int), 0, pixels)
    high = np.clip(low + 1, 0, pixels)
    part = np.clip(edges - low, 0, 1).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    at_edges = np.take(cumulative, low, axis) * (1 - part) + np.take(cumulative, high, axis) * part
    return np.diff(at_edges, axis=axis) * shown / pixels
