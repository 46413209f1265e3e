"""How far a map reaches beyond the image, found by changing rows and columns of it and looking at what moves.

Networks that pad once and then convolve without padding (SinGAN), or crop a map on one side, draw an image from the
inside of their maps. A row of cells moves some rows of pixels, in whose middle it lies: a straight line through these
middles says which cells are at the ends of the image.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer, Margins, beyond

SEED = 0
ROWS, STEP = 8, 0.5
# Of the largest change, what counts as one; how far from the line middles may lie, in pixels; the grain, in cells.
MOVED, STRAIGHT, GRAIN = 0.02, 1.5, 0.5


def reaches_beyond(layer: Layer, size: tuple[int, int]) -> bool:
    """Whether a map does not divide an image, nor is divided by it, as one of the same extent does."""
    sides = zip(layer.output_grid, size, strict=True)
    return layer.kind != "linear" and any(pixels % cells and cells % pixels for cells, pixels in sides)


class FittedLayers(Mapping[str, Layer]):
    """Layers with their margins, each measured when it is first asked for: that draws many images.

    Args:
        generator: The generator.
        layers: Its layers.
        misfits: Names of those whose margins are to be measured.
    """

    def __init__(self, generator: Generator, layers: Mapping[str, Layer], misfits: Iterable[str]):
        self._generator, self._layers, self._misfits = generator, dict(layers), set(misfits)

    def __getitem__(self, name: str) -> Layer:
        if name in self._misfits:
            # Measuring asks for the layer too.
            self._misfits.discard(name)
            margins = measured_margins(self._generator, self._layers[name])
            if margins is not None:
                self._layers[name] = extending(self._layers[name], margins)
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


def extending(layer: Layer, margins: Margins) -> Layer:
    """A layer that extends beyond the image.

    Raises:
        ValueError: The margins leave nothing of its map.
    """
    ends = [beyond(margins, axis) for axis in (0, 1)]
    if any(min(each) < 0 or sum(each) >= cells for each, cells in zip(ends, layer.output_grid, strict=True)):
        (height, width), shown = layer.output_grid, margins if isinstance(margins, tuple) else f"{margins:g}"
        raise ValueError(f"a margin of {shown} cells leaves nothing of the {height} x {width} of layer {layer.name}")
    sides = margins if isinstance(margins, tuple) else float(margins)
    return replace(layer, overhang=sides, margin=sides)


@torch.no_grad()
def measured_margins(generator: Generator, layer: Layer) -> Margins | None:
    """By how many cells the output of a layer extends beyond the image: above, below, left and right.

    Returns:
        The numbers, to half a cell; None where what moves does not lie on a line, as with attention over the image.
    """
    cut = generator.cut(layer.name, generator.latents([SEED]))
    output = generator.output(layer.name, cut)
    found = [_along(generator, layer, cut, output, axis) for axis in (0, 1)]
    if found[0] is None or found[1] is None:
        return None
    return (*found[0], *found[1])


def _along(generator: Generator, layer: Layer, cut: Cut, output: Tensor, axis: int) -> tuple[float, float] | None:
    """The margins before and behind the image along an axis."""
    cells, pixels = output.shape[2 + axis], generator.size[axis]
    count = min(ROWS, cells // 2)
    first = (cells - count) // 2
    before = generator.onward(layer.name, cut, output.clone())
    moved = [_moved(generator, layer, cut, output, (axis, cell), before) for cell in range(first, first + count)]
    ends = [np.flatnonzero(each > MOVED * each.max()) for each in moved]
    within = [len(each) > 0 and each[0] > 0 and each[-1] < pixels - 1 for each in ends]
    inside = [(first + number, each) for number, each in enumerate(ends) if within[number]]
    if len(inside) < 2:
        return None
    places = np.array([cell + 0.5 for cell, _ in inside])
    middles = np.array([(each[0] + each[-1] + 1) / 2 for _, each in inside])
    slope, start = np.polyfit(places, middles, 1)
    if slope <= 0 or np.abs(places * slope + start - middles).max() > STRAIGHT:
        return None
    low, high = (round((end - start) / slope / GRAIN) * GRAIN for end in (0, pixels))
    return (float(low), float(cells - high)) if 0 <= low < high <= cells else None


def _moved(
    generator: Generator, layer: Layer, cut: Cut, output: Tensor, where: tuple[int, int], before: Tensor
) -> Float[np.ndarray, " pixels"]:
    """How much each row of pixels (or column) moves at most where one of cells is changed, up and down at random."""
    axis, cell = where
    rows = output.select(2 + axis, cell)
    signs = torch.randint(0, 2, rows.shape, generator=torch.Generator().manual_seed(cell)) * 2 - 1
    moved = torch.zeros(generator.size[axis])
    for sign in (1, -1):
        changed = output.clone()
        changed.select(2 + axis, cell).add_(sign * STEP * output.std() * signs.to(output))
        apart = (generator.onward(layer.name, cut, changed) - before)[0].abs().amax(dim=0).amax(dim=1 - axis)
        moved = torch.maximum(moved, apart.float().cpu())
    return moved.numpy()
