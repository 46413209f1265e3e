"""Images drawn again as well as a generator can: what is then missing, it cannot draw.

Source: Bau et al., "Seeing What a GAN Cannot Generate" (ICCV 2019), section 3.2: the layers after an early one draw
what they are given, so the search runs in the space of that layer's output, from the latent that comes closest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dissect.quality.features import FeatureSpace
from rewrite.generators.batches import batched
from rewrite.generators.contract import Generator
from rewrite.generators.latents import Latents
from rewrite.progress import in_stage

BATCH = 16
STARTS = 64
FIRST_START = 2_500_000
# Of the steps, this share moves the latent alone; from there on residuals at the layer move with it.
LATENT_SHARE = 0.5
LATENT_RATE, RESIDUAL_RATE = 0.05, 0.02
FEATURES_WEIGHT, RESIDUAL_WEIGHT = 1.0, 0.1
CELLS = 8


@dataclass(frozen=True)
class Inversion:
    """Images and what a generator makes of them at best.

    Attributes:
        images: The images that were to be drawn.
        drawn: What came closest.
        begun: What came closest of images of other seeds, before any step.
        loss: The loss of what was drawn, image by image.
        first_loss: That of what the steps began with.
        layer: Where residuals were added.
    """

    images: Float[Tensor, "images 3 height width"]
    drawn: Float[Tensor, "images 3 height width"]
    begun: Float[Tensor, "images 3 height width"]
    loss: Float[Tensor, " images"]
    first_loss: Float[Tensor, " images"]
    layer: str


def invert(
    generator: Generator,
    images: Float[Tensor, "images 3 height width"],
    space: FeatureSpace,
    layer: str | None = None,
    *,
    steps: int = 400,
    starts: int = STARTS,
    progress: bool = False,
) -> Inversion:
    """Search for the latents, and then for residuals at a layer, that draw images again.

    The loss of an image is the mean difference of colours, plus that of the features relative to their mean size,
    plus the mean square of the residuals relative to that of the layer's output. Adam at rates that fall to zero; of
    all iterates the best is kept for each image.

    Args:
        generator: The generator.
        images: What to draw, in [-1, 1].
        space: Whose features are compared beside colours.
        layer: Where residuals are added; the first with a grid of 8 or more if left out.
        steps: How many steps, half of them on the latent alone.
        starts: Seeds to find the start among.
        progress: Show a progress bar.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: The images are not of the generator's size, or a number is less than 1.
    """
    if tuple(images.shape[2:]) != tuple(generator.size):
        raise ValueError(f"the generator draws images of {generator.size}, got {tuple(images.shape[2:])}")
    if steps < 1 or starts < 1:
        raise ValueError(f"an inversion takes one step and one start or more, got {steps} and {starts}")
    layer = generator.layer(layer).name if layer else default_layer(generator)
    images = images.to(generator.device)
    loss = _loss_to(images, space)
    z, begun, first = _nearest(generator, images, loss, starts)
    best = _Best(begun, first)
    _descend(generator, layer, z, loss, best, steps, progress)
    return Inversion(images, best.images, begun, best.loss, first, layer)


def default_layer(generator: Generator) -> str:
    """The first layer whose output has eight cells a side or more."""
    found = (name for name, layer in generator.layers.items() if min(layer.output_grid) >= CELLS and layer.outputs > 4)
    return next(found, list(generator.layers)[-1])


class _Best:
    """The best of all iterates, image by image."""

    def __init__(self, images: Tensor, loss: Tensor):
        self.images, self.loss = images.clone(), loss.clone()

    @torch.no_grad()
    def see(self, images: Tensor, loss: Tensor) -> None:
        better = loss < self.loss
        self.images[better], self.loss[better] = images[better], loss[better]


def _loss_to(images: Tensor, space: FeatureSpace) -> Callable[[Tensor], Tensor]:
    """How far one drawn image, or one for each, is from the images; residuals are not counted."""
    with torch.no_grad():
        wanted = space.maps(images)
    size = wanted.abs().mean()

    def loss(drawn: Tensor) -> Tensor:
        colours = (drawn - images).abs().flatten(1).mean(dim=1)
        features = (space.maps(drawn) - wanted).abs().flatten(1).mean(dim=1)
        return colours + FEATURES_WEIGHT * features / size

    return loss


@torch.no_grad()
def _nearest(generator: Generator, images: Tensor, loss: Callable, starts: int) -> tuple[Tensor, Tensor, Tensor]:
    """The latent, image and loss of the seed that comes closest to each image."""
    z, drawn, losses = [], [], []
    for part in batched(range(FIRST_START, FIRST_START + starts), BATCH):
        latents = generator.latents(part)
        z.append(latents.z)
        drawn.append(generator.images(latents).clamp(-1, 1))
        losses += [loss(image[None]) for image in drawn[-1]]
    found = torch.stack(losses)
    least, place = found.min(dim=0)
    return torch.cat(z)[place], torch.cat(drawn)[place], least


def _descend(
    generator: Generator, layer: str, z: Tensor, loss: Callable, best: _Best, steps: int, progress: bool
) -> None:
    seeds = tuple(range(FIRST_START, FIRST_START + len(z)))
    z = z.clone().requires_grad_()
    with torch.no_grad():
        start = generator.output(layer, generator.cut(layer, Latents(z.detach(), seeds)))
    scale = start.square().mean().sqrt()
    residual = torch.zeros_like(start).requires_grad_()
    rates = {"z": LATENT_RATE, "residual": RESIDUAL_RATE * float(scale)}
    adam = torch.optim.Adam([{"params": [z], "lr": rates["z"]}, {"params": [residual], "lr": rates["residual"]}])
    with torch.enable_grad():
        for step in in_stage(range(steps + 1), "invert", "step", shown=progress):
            late = step >= LATENT_SHARE * steps
            # What follows a layer may write into what it is given.
            cut = generator.cut(layer, Latents(z, seeds))
            output = generator.output(layer, cut) + residual
            drawn = generator.onward(layer, cut, output.clone()).clamp(-1, 1)
            apart = loss(drawn)
            best.see(drawn, apart)
            if step == steps:
                return
            moved = RESIDUAL_WEIGHT * (residual / scale).square().flatten(1).mean(dim=1)
            adam.zero_grad()
            (apart + moved).sum().backward()
            if not late:
                residual.grad = None
            for group, rate in zip(adam.param_groups, rates.values(), strict=True):
                group["lr"] = rate * (1 - step / steps)
            adam.step()
