"""Square blocks of cells of a layer's grid: where units are switched, and where that is read in the image."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

# The side of a block, in shares of the grid's: one cell of the 8 x 8 grids of the published experiments.
SHARE = 1 / 8
STREAM = 0xACE


class Cell(NamedTuple):
    """A position of the layer's grid."""

    row: int
    column: int


def usual_side(grid: Sequence[int]) -> int:
    """The side of a block for a grid of some size, in cells."""
    return max(1, round(min(grid) * SHARE))


def cells_of(seed: int, grid: Sequence[int], count: int | None = None) -> list[Cell]:
    """Positions of a grid: all of them in order, or a random share that depends on the seed of the image alone.

    Raises:
        ValueError: There are not so many.
    """
    height, width = grid
    if count is None:
        return [Cell(*divmod(number, width)) for number in range(height * width)]
    if not 1 <= count <= height * width:
        raise ValueError(f"a grid of {height} x {width} has 1 to {height * width} positions, got {count}")
    drawn = np.random.default_rng((seed, STREAM)).permutation(height * width)[:count]
    return [Cell(*divmod(int(number), width)) for number in drawn]


def block_at(cells: Sequence[Cell], grid: Sequence[int], side: int) -> Bool[Tensor, "images height width"]:
    """The block around one cell of each image; at the border of the grid it is moved until it lies inside.

    Raises:
        ValueError: The block has no cell, or is larger than the grid.
    """
    height, width = grid
    if not 1 <= side <= min(grid):
        raise ValueError(f"the side of a block lies between 1 and {min(grid)} cells, got {side}")
    masks = torch.zeros(len(cells), height, width, dtype=torch.bool)
    for mask, cell in zip(masks, cells, strict=True):
        top = min(max(cell.row - side // 2, 0), height - side)
        left = min(max(cell.column - side // 2, 0), width - side)
        mask[top : top + side, left : left + side] = True
    return masks


def enlarged(masks: Bool[Tensor, "images height width"], size: Sequence[int]) -> Bool[Tensor, "images rows columns"]:
    """Masks of cells as masks of the pixels that lie over them."""
    return F.interpolate(masks[:, None].float(), tuple(size), mode="nearest-exact")[:, 0] > 0
