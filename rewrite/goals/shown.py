"""Marked images as they are drawn with another weight of one layer, and what is missing in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer
from rewrite.goals.pasted import Pasted
from rewrite.goals.scene import latents_of

BATCH = 8


def drawn_with(generator: Generator, layer: Layer, cut: Cut, weight: Tensor) -> Float[Tensor, "images 3 height width"]:
    """Images that were run up to a layer, drawn on with a weight of it."""
    factor = generator.demodulation(layer.name, cut.style, weight)
    return generator.resume(layer.name, cut, layer.apply(cut.features, weight), factor)


@dataclass(frozen=True)
class Shown:
    """Some marked images, run up to the layer."""

    cut: Cut
    wanted: Float[Tensor, "images 3 height width"]
    weights: Float[Tensor, "images 1 height width"]

    def missed(self, generator: Generator, layer: Layer, weight: Tensor) -> Tensor:
        """Mean absolute difference from what is wanted, with a weight of the layer."""
        return ((drawn_with(generator, layer, self.cut, weight) - self.wanted).abs() * self.weights).mean()


@torch.no_grad()
def shown_in_parts(
    generator: Generator, layer: Layer, aims: Sequence[Pasted], emphasis: float, batch: int = BATCH
) -> list[Shown]:
    """The images in parts of about one size; a part's run up to the layer is kept for all steps of a descent.

    Args:
        generator: The unedited generator.
        layer: The layer.
        aims: What the images are to look like.
        emphasis: By how much more a pixel under the marks counts than any other.
        batch: The most images of a part.
    """
    count, parts = -(-len(aims) // batch), []
    for start in range(count):
        some = aims[start::count]
        cut = generator.cut(layer.name, latents_of(generator, [aim.latent for aim in some]))
        wanted = torch.stack([aim.wanted for aim in some]).to(cut.features)
        weights = 1 + emphasis * torch.stack([aim.inside for aim in some])[:, None].to(wanted)
        parts.append(Shown(cut, wanted, weights))
    return parts


@torch.no_grad()
def missed_in_all(generator: Generator, layer: Layer, parts: Sequence[Shown], weight: Tensor) -> float:
    """What is missing in the images of all parts, on average."""
    found = [float(part.missed(generator, layer, weight)) * len(part.wanted) for part in parts]
    return sum(found) / sum(len(part.wanted) for part in parts)
