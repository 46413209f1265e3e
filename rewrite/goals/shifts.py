"""By how much a copy moves to its place: in whole cells of a layer, and in pixels."""

import torch
from torch import Tensor

from rewrite.generators.layers import Layer
from rewrite.rules.masks import Mask
from rewrite.rules.rule import Region, Rule


def best_copy(layer: Layer, rule: Rule, place: Region) -> tuple[Region, tuple[int, int]]:
    """The copy whose position within a cell fits the place best, and its shift in whole cells."""
    scores = []
    for number, copy in enumerate(rule.copy):
        exact = [
            (to - at) * layer_cells(layer, axis)
            for axis, (at, to) in enumerate(
                zip(anchor_of(copy.mask, rule.anchor), anchor_of(place.mask, rule.anchor), strict=True)
            )
        ]
        whole = (round(exact[0]), round(exact[1]))
        misfit = sum((a - b) ** 2 for a, b in zip(exact, whole, strict=True))
        scores.append((misfit, number, whole))
    _, chosen, whole = min(scores)
    return rule.copy[chosen], whole


def layer_cells(layer: Layer, axis: int) -> float:
    """How many cells of the written map span the image along an axis."""
    return layer.output_grid[axis] - 2 * layer.overhang


def anchor_of(mask: Mask, anchor: str) -> tuple[float, float]:
    """The anchoring point of a mask, as shares of the image's height and width."""
    top, bottom, left, right = mask.box
    row = bottom + 1 if anchor == "bottom" else (top + bottom + 1) / 2
    return row / mask.size[0], (left + right + 1) / 2 / mask.size[1]


def pixels_between(copy: Mask, place: Mask, anchor: str, size: tuple[int, int]) -> tuple[int, int]:
    """How far a copy moves to its place, in whole pixels of an image of this size."""
    at, to = anchor_of(copy, anchor), anchor_of(place, anchor)
    down, right = (round((to[axis] - at[axis]) * size[axis]) for axis in (0, 1))
    return down, right


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
