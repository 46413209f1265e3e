"""How many operations some work takes: the same on every machine, so that an answer depends on none."""

from collections.abc import Sequence

import torch

from rewrite.generators.contract import Generator
from rewrite.goals.scene import latents_of
from rewrite.goals.shown import BATCH
from rewrite.rules.regions import Latent

# A gradient takes about two passes more.
PASSES = 3
# Half a minute of one core.
MOST_OPERATIONS = 2e12


def is_affordable(generator: Generator, layer: str, latents: Sequence[Latent], steps: int) -> bool:
    """Whether so many steps of descent on some images, a batch in each, take no more operations than are allowed."""
    return steps * min(BATCH, len(latents)) * operations_of_step(generator, layer, latents[0]) <= MOST_OPERATIONS


@torch.no_grad()
def operations_of_step(generator: Generator, layer: str, latent: Latent) -> int:
    """What a step of descent through the network behind a layer takes for one image, in operations.

    Args:
        generator: The generator, whose layer can be resumed.
        layer: Name of the layer.
        latent: Some image.
    """
    from torch.utils.flop_counter import FlopCounterMode

    cut = generator.cut(layer, latents_of(generator, [latent]))
    weight = generator.weight(layer)
    factor = generator.demodulation(layer, cut.style, weight)
    with FlopCounterMode(display=False) as counter:
        generator.resume(layer, cut, generator.layer(layer).apply(cut.features, weight), factor)
    return PASSES * counter.get_total_flops()
