"""Pasted values, adjusted until the image itself shows the copy.

A copy pasted in feature space brings the copied values, but not what other ways through the network add to the image:
a generator that sums colours over its resolutions (StyleGAN2) keeps the colour that coarser layers drew there. So the
values of the marked cells follow the gradient of the difference between the image and the image with the copy pasted
into it, pixel by pixel. Only values move here; the weight is then solved for them in closed form.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rewrite.generators.contract import Generator, Latents
from rewrite.generators.layers import Layer
from rewrite.goals.adam import Adam

# Of the layer's own size, the most that a value moves in a step, and over all of the steps where they are few.
RATE, LARGEST, REACH = 0.1, 0.35, 1.0
EMPHASIS = 4.0


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

    Args:
        generator: The generator.
        layer: Where the values are written.
        latents: The images, one for each wish.
        wishes: What they are to look like.
        steps: Number of steps.
    """
    with torch.no_grad():
        cut = generator.cut(layer.name, latents)
        factor = generator.demodulation(layer.name, cut.style)
    scale = 1.0 if factor is None else factor[:, :, None, None]
    start = torch.stack([wish.values for wish in wishes]).to(cut.features)
    wanted = torch.stack([wish.pixels for wish in wishes]).to(cut.features)
    weight = 1 + EMPHASIS * torch.stack([wish.inside for wish in wishes])[:, None].to(wanted)
    cells = torch.stack([wish.cells for wish in wishes])[:, None].to(wanted)
    unit = start.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    moved = torch.zeros_like(start).requires_grad_()
    adam, rate = Adam(start), min(LARGEST, max(RATE, REACH / steps))
    with torch.enable_grad():
        for _ in range(steps):
            images = generator.resume(layer.name, cut, (start + moved * cells * unit) / scale, factor)
            # A sum over images, and a unit for each: the values of one do not depend on the others of its batch.
            missed = ((images - wanted).square() * weight).mean(dim=(1, 2, 3)).sum()
            # Asked for these values alone, so that a module whose weights can learn collects no gradients.
            (slope,) = torch.autograd.grad(missed, moved)
            with torch.no_grad():
                moved -= adam.step(slope, rate)
    return (start + moved.detach() * cells * unit).cpu().double()
