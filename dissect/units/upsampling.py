"""Bilinear upsampling with half-pixel centres and border padding, everywhere or only where it passes a level.

Where pixel i of a map of n stands on a side of length 1 is (i + ½)/n, on both sides of the upsampling; beyond the outer
centres the border's value goes on. That is `F.interpolate(mode="bilinear", align_corners=False)`. Zero padding dims the
border, and aligned corners shift what a unit shows: older tools did one or the other.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

# Pixels of the cells looked at in one go.
AT_ONCE = 2**21
# A mean of four numbers can be rounded above the largest of them.
ROUNDING = 1e-6
SAMPLED = 1024


class Lit(NamedTuple):
    """The pixels at which units pass their level, as three equally long lists."""

    images: Int64[Tensor, " pixels"]
    units: Int64[Tensor, " pixels"]
    pixels: Int64[Tensor, " pixels"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's loops on one thread.

    Those of counting are so short that threads wait for one another longer than they work, and many times longer where
    other programs want the processor, too.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Axis:
    """Rows or columns: which two neighbours of the map each pixel lies between, and how far along.

    Between the centres of neighbours, and before the first and after the last, the map has `cells`. The tables list the
    pixels of each cell, filled up to the most that any has; filled-up places have the pixel 0 and the share NaN, which
    passes no level.

    Attributes:
        low, high: The neighbours of each pixel.
        share: How much of the second neighbour each pixel takes.
        cell_pixels: The pixels of each cell.
        cell_shares: Their shares.
    """

    def __init__(self, cells: int, pixels: int, device: torch.device | str):
        place = (torch.arange(pixels, dtype=torch.float64) + 0.5) * cells / pixels - 0.5
        cell = place.floor().long() + 1
        place = place.clamp(0, cells - 1)
        low = place.floor().long()
        share = (place - low).float()
        self.low, self.high = low.to(device), (low + 1).clamp(max=cells - 1).to(device)
        self.share = share.to(device)
        # At the border both neighbours of a cell are one; the pixel's own low neighbour then is that one, too.
        counts = torch.bincount(cell, minlength=cells + 1)
        column = torch.arange(pixels) - (counts.cumsum(0) - counts)[cell]
        pixels_of = torch.zeros(cells + 1, int(counts.max()), dtype=torch.int64)
        shares_of = torch.full(pixels_of.shape, torch.nan)
        pixels_of[cell, column] = torch.arange(pixels)
        shares_of[cell, column] = share
        self.cell_pixels, self.cell_shares = pixels_of.to(device), shares_of.to(device)

    def mixed(self, maps: Tensor, axis: int) -> Tensor:
        """Upsample along one axis of the maps."""
        shape = [1] * maps.ndim
        shape[axis] = -1
        share = self.share.reshape(shape)
        return maps.index_select(axis, self.low) * (1 - share) + maps.index_select(axis, self.high) * share


class Upsampling:
    """From maps of one grid to pixels of one size.

    Attributes:
        grid: Height and width of the maps.
        size: Height and width in pixels.
    """

    def __init__(self, grid: tuple[int, int], size: tuple[int, int], device: torch.device | str = "cpu"):
        self.grid, self.size = tuple(grid), tuple(size)
        self.rows, self.columns = (Axis(cells, pixels, device) for cells, pixels in zip(grid, size, strict=True))

    def everywhere(self, maps: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch rows columns"]:
        """The whole upsampled maps."""
        return self.rows.mixed(self.columns.mixed(maps, maps.ndim - 1), maps.ndim - 2)

    def at(
        self, maps: Float[Tensor, "images units height width"], pixels: Int64[Tensor, "images chosen"]
    ) -> Float[Tensor, "images units chosen"]:
        """The upsampled values at some pixels (row-major) of each image."""
        y, x = pixels // self.size[1], pixels % self.size[1]
        flat, width = maps.flatten(2), self.grid[1]

        def taken(rows: Tensor, columns: Tensor) -> Tensor:
            places = (rows[y] * width + columns[x])[:, None].expand(-1, flat.shape[1], -1)
            return flat.gather(2, places)

        right, down = self.columns.share[x][:, None], self.rows.share[y][:, None]
        top = taken(self.rows.low, self.columns.low) * (1 - right) + taken(self.rows.low, self.columns.high) * right
        base = taken(self.rows.high, self.columns.low) * (1 - right) + taken(self.rows.high, self.columns.high) * right
        return top * (1 - down) + base * down

    @one_thread()
    def above(self, maps: Float[Tensor, "images units height width"], levels: Float[Tensor, " units"]) -> Lit:
        """The pixels whose upsampled value is greater than the unit's level.

        A pixel's value is a mean of its four neighbours, so it can pass only where one of them does, and in a column of
        a cell only where the column's upper or lower end does. Just those are upsampled, by the same operations in the
        same order as `everywhere`: the answer is the same to the bit.
        """
        padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
        wider = torch.maximum(padded[..., :-1], padded[..., 1:])
        largest = torch.maximum(wider[..., :-1, :], wider[..., 1:, :])
        bound = levels - levels.abs() * ROUNDING
        parts = [
            self._lit(padded, levels, bound, cells)
            for cells in places_of(largest > bound[:, None, None]).split(self._cells_at_once)
        ]
        return parts[0] if len(parts) == 1 else Lit(*(torch.cat(entries) for entries in zip(*parts, strict=True)))

    def _lit(self, padded: Tensor, levels: Tensor, bound: Tensor, cells: Tensor) -> Lit:
        """The lit pixels of some cells, which are numbered through all images, units, rows and columns."""
        # All tables are read by `index_select`, which is several times faster than indexing with brackets.
        units, height, width = padded.shape[1:]
        per_map = (height - 1) * (width - 1)
        pair, inside = cells // per_map, cells % per_map
        row, column, unit = inside // (width - 1), inside % (width - 1), pair % units
        corner, flat = pair * (height * width) + row * width + column, padded.reshape(-1)
        a, b, c, d = (flat.index_select(0, corner + step)[:, None] for step in (0, 1, width, width + 1))
        right = self.columns.cell_shares.index_select(0, column)
        left = 1 - right
        top, base = a * left + b * right, c * left + d * right
        edge = places_of(torch.maximum(top, base) > bound.index_select(0, unit)[:, None])
        across = self.columns.cell_shares.shape[1]
        cell = edge // across
        top, base = (each.reshape(-1).index_select(0, edge)[:, None] for each in (top, base))
        row, unit, image = (each.index_select(0, cell) for each in (row, unit, pair // units))
        down = self.rows.cell_shares.index_select(0, row)
        values = top * (1 - down) + base * down
        lit = places_of(values > levels.index_select(0, unit)[:, None])
        deep = self.rows.cell_shares.shape[1]
        line = lit // deep
        # The number of a pixel is that of its row's first pixel, and its column's.
        first = (column * across).index_select(0, cell) + edge - cell * across
        first = self.columns.cell_pixels.reshape(-1).index_select(0, first).index_select(0, line)
        starts = (self.rows.cell_pixels * self.size[1]).reshape(-1)
        pixels = starts.index_select(0, ((row * deep).index_select(0, line) + lit).sub_(line * deep)) + first
        return Lit(image.index_select(0, line), unit.index_select(0, line), pixels)

    @cached_property
    def _cells_at_once(self) -> int:
        return max(1, AT_ONCE // (self.rows.cell_pixels.shape[1] * self.columns.cell_pixels.shape[1]))


@lru_cache(maxsize=64)
def upsampling(grid: tuple[int, int], size: tuple[int, int], device: torch.device | str = "cpu") -> Upsampling:
    """An upsampling whose tables are made once."""
    return Upsampling(grid, size, device)


def places_of(mask: Tensor) -> Int64[Tensor, " places"]:
    """The flat places of what is not zero, ascending."""
    if mask.device.type == "cpu":
        # NumPy's is five times faster than torch's.
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.reshape(-1).nonzero()[:, 0]


def sampled_pixels(numbers: Sequence[int], size: tuple[int, int]) -> Int64[Tensor, "images chosen"]:
    """Some pixels of each image, all if there are few: drawn evenly, by the image's number alone."""
    area = size[0] * size[1]
    drawn = [
        np.random.default_rng((number, area)).choice(area, min(SAMPLED, area), replace=False) for number in numbers
    ]
    return torch.from_numpy(np.stack(drawn))
