"""Pasted values, adjusted until the image itself shows the copy.

A copy pasted in feature space brings the copied values, but not what other ways through the network add to the image:
a generator that sums colours over its resolutions (StyleGAN2) keeps the colour that coarser layers drew there. So the
values of the marked cells follow the gradient of the difference between the image and the image with the copy pasted
into it, pixel by pixel. Only values move here; the weight is then solved for them in closed form.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.latents import Latents
from rewrite.generators.layers import Layer, grid_of
from rewrite.goals.adam import Adam

# Of the layer's own size, the most that a value moves in a step, and over all of the steps where they are few.
RATE, LARGEST, REACH = 0.1, 0.35, 1.0
EMPHASIS = 4.0
# In cells: how far around the marks is drawn, and what is drawn wrong at the borders of that. A change is felt mostly
# within two cells. And of a map, the largest part that is drawn alone.
MARGIN, BORDER, MOST_OF_A_MAP = 3, 1, 0.5


@dataclass(frozen=True)
class Wish:
    """What one image is to look like, and the values that may change for it.

    Attributes:
        pixels: The image with everything pasted into it.
        inside: The pasted pixels.
        cells: Cells of the layer whose values may move.
        values: Where they start, float64; elsewhere what the layer writes.
    """

    pixels: Float[Tensor, "3 height width"]
    inside: Bool[Tensor, "height width"]
    cells: Bool[Tensor, "rows columns"]
    values: Float[Tensor, "outputs rows columns"]


def refine(
    generator: Generator, layer: Layer, latents: Latents, wishes: Sequence[Wish], steps: int
) -> Float[Tensor, "images outputs rows columns"]:
    """Adjust values by Adam; those of no cell stay what they were.

    Where the generator can draw a window of an image, only the surroundings of the cells are drawn.

    Args:
        generator: The generator.
        layer: Where the values are written.
        latents: The images, one for each wish.
        wishes: What they are to look like.
        steps: Number of steps.
    """
    with torch.no_grad():
        cut = generator.cut(layer.name, latents)
    whole = _Aim.of(cut, wishes)
    windows = [_window(generator, layer, latents, wishes, number) for number in range(len(wishes))]
    if any(window is None for window in windows):
        return _adjusted(generator, layer, whole, steps).cpu().double()
    values = torch.stack([wish.values for wish in wishes])
    for number, (rows, columns, aim) in enumerate(window for window in windows if window is not None):
        values[number, :, rows, columns] = _adjusted(generator, layer, aim, steps)[0].cpu().double()
    return values


@dataclass(frozen=True)
class _Aim:
    """What some images, or a window of one, are to look like.

    Attributes:
        cut: The run up to the layer.
        start: The values that are written there first.
        unit: Of each image, the size of what the layer writes.
        cells: Where values may move.
        wanted: What it is to look like.
        weight: How much each pixel counts.
    """

    cut: Cut
    start: Float[Tensor, "images outputs rows columns"]
    unit: Float[Tensor, "images 1 1 1"]
    cells: Float[Tensor, "images 1 rows columns"]
    wanted: Float[Tensor, "images 3 height width"]
    weight: Float[Tensor, "images 1 height width"]

    @classmethod
    def of(cls, cut: Cut, wishes: Sequence[Wish]) -> "_Aim":
        start = torch.stack([wish.values for wish in wishes]).to(cut.features)
        wanted = torch.stack([wish.pixels for wish in wishes]).to(cut.features)
        weight = 1 + EMPHASIS * torch.stack([wish.inside for wish in wishes])[:, None].to(wanted)
        cells = torch.stack([wish.cells for wish in wishes])[:, None].to(wanted)
        return cls(cut, start, start.square().mean(dim=(1, 2, 3), keepdim=True).sqrt(), cells, wanted, weight)

    def within(self, cut: Cut, rows: slice, columns: slice) -> "_Aim":
        """The aim of a window; its pixels near a border that lies within the image are wrong, and do not count."""
        grid, size = grid_of(self.start), grid_of(self.wanted)
        high, wide = (
            slice(part.start * pixels // cells, part.stop * pixels // cells)
            for part, pixels, cells in zip((rows, columns), size, grid, strict=True)
        )
        counted = torch.zeros_like(self.weight)
        inner = (_inner(part, pixels, cells) for part, pixels, cells in zip((rows, columns), size, grid, strict=True))
        counted[..., *inner] = 1
        return replace(
            self,
            cut=cut,
            start=self.start[..., rows, columns],
            cells=self.cells[..., rows, columns],
            wanted=self.wanted[..., high, wide],
            weight=(self.weight * counted)[..., high, wide],
        )


def _inner(part: slice, pixels: int, cells: int) -> slice:
    """The pixels of a window that are drawn right, along one side."""
    low, high = max(0, part.start), min(cells, part.stop)
    low, high = low + BORDER * (low > 0), high - BORDER * (high < cells)
    return slice(low * pixels // cells, high * pixels // cells)


def _window(
    generator: Generator, layer: Layer, latents: Latents, wishes: Sequence[Wish], number: int
) -> tuple[slice, slice, _Aim] | None:
    """The surroundings of the cells of one image, if they are a small part of it and can be drawn alone."""
    cells = wishes[number].cells
    rows, columns = (_around(cells.any(dim=axis)) for axis in (1, 0))
    if (rows.stop - rows.start) * (columns.stop - columns.start) > MOST_OF_A_MAP * cells.numel():
        return None
    with torch.no_grad():
        cut = generator.cut(layer.name, latents.chosen([number]))
        window = generator.window(layer.name, cut, rows, columns)
    if window is None:
        return None
    return rows, columns, _Aim.of(cut, wishes[number : number + 1]).within(window, rows, columns)


def _around(marked: Bool[Tensor, " cells"]) -> slice:
    """The marked cells along one side with some around them, from and up to even numbers."""
    found = torch.nonzero(marked)[:, 0]
    first, last = int(found[0]) - MARGIN, int(found[-1]) + 1 + MARGIN
    return slice(max(0, first // 2 * 2), min(len(marked), -(-last // 2) * 2))


def _adjusted(
    generator: Generator, layer: Layer, aim: _Aim, steps: int
) -> Float[Tensor, "images outputs rows columns"]:
    """The values after some steps."""
    factor = generator.demodulation(layer.name, aim.cut.style)
    scale = 1.0 if factor is None else factor[:, :, None, None]
    moved = torch.zeros_like(aim.start).requires_grad_()
    adam, rate = Adam(aim.start), min(LARGEST, max(RATE, REACH / steps))

    def values() -> Tensor:
        return aim.start + moved * aim.cells * aim.unit

    with torch.enable_grad():
        for _ in range(steps):
            images = generator.resume(layer.name, aim.cut, values() / scale, factor)
            # A sum over images, and a unit for each: the values of one do not depend on the others of its batch.
            missed = ((images - aim.wanted).square() * aim.weight).mean(dim=(1, 2, 3)).sum()
            # Asked for these values alone, so that a module whose weights can learn collects no gradients.
            (slope,) = torch.autograd.grad(missed, moved)
            with torch.no_grad():
                moved -= adam.step(slope, rate)
    return values().detach()
