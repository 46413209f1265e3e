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
ROWS, STEP = 4, 0.5
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
    rows = _along(generator, layer, cut, output, 0)
    columns = rows and _along(generator, layer, cut, output, 1)
    return (*rows, *columns) if rows and columns else None


def _along(generator: Generator, layer: Layer, cut: Cut, output: Tensor, axis: int) -> tuple[float, float] | None:
    """The margins before and behind the image along an axis."""
    cells, pixels = output.shape[2 + axis], generator.size[axis]
    before, places, middles = generator.onward(layer.name, cut, output.clone()), [], []
    for cell in _tried(cells):
        moved = _moved(generator, layer, cut, output, (axis, cell), before)
        ends = np.flatnonzero(moved > MOVED * moved.max())
        if not len(ends) or ends[0] == 0 or ends[-1] == pixels - 1:
            break  # it reaches a side of the image, as do those that are farther from its middle
        places.append(cell + 0.5)
        middles.append((ends[0] + ends[-1] + 1) / 2)
    if len(places) < 2:
        return None
    at, found = np.array(places), np.array(middles)
    slope, start = np.polyfit(at, found, 1)
    if slope <= 0 or np.abs(at * slope + start - found).max() > STRAIGHT:
        return None
    low, high = (round((end - start) / slope / GRAIN) * GRAIN for end in (0, pixels))
    return (float(low), float(cells - high)) if 0 <= low < high <= cells else None


def _tried(cells: int) -> list[int]:
    """Cells of the middle half, far apart, so that a line through them is well known; those in the middle first."""
    spread = np.unique(np.linspace(cells // 4, (3 * cells - 1) // 4, ROWS).round().astype(int))
    return sorted(spread.tolist(), key=lambda cell: abs(cell + 0.5 - cells / 2))


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
