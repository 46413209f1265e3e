"""Whether what follows a layer normalises its values, found by writing other values there and looking at the images."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.contract import Generator

SEEDS = (0, 1)
STEP = 0.5
# Of networks without a normalisation after the layer, the least share was .5; with one it was below .003, and up to .3
# where the network adds noise of the size of the values before it normalises them.
LEAST_SHARE = 0.3


def normalised_after(generator: Generator, layer: str, seeds: Sequence[int] = SEEDS) -> bool:
    """Whether a normalisation (over an image, a batch, the channels of a position, …) follows a layer.

    What it takes out of the values never reaches the image: an edit that gives a layer just the values that are wanted
    need not show what is wanted.

    Args:
        generator: The generator.
        layer: Name of the layer.
        seeds: The images on which it is tried.

    Returns:
        Whether a uniform change of the values is hardly seen; see `uniform_share`.

    Raises:
        LookupError: The generator has no such layer.
    """
    return uniform_share(generator, layer, seeds) < LEAST_SHARE


@torch.no_grad()
def uniform_share(generator: Generator, layer: str, seeds: Sequence[int] = SEEDS) -> float:
    """How much of a uniform change of a layer's values is seen, beside a local change of the same size.

    The uniform change is v → 1.5 v at all positions and channels, which any normalisation undoes. The local one is
    v → (1 ± ½) v with a sign for each position and channel, drawn at random, which none does. Values are counted with
    their bias, also where the network adds it later.

    Args:
        generator: The generator.
        layer: Name of the layer.
        seeds: The images on which it is tried.

    Returns:
        The change of the images by the first over that by the second, both as the root of their mean square.

    Raises:
        LookupError: The generator has no such layer.
    """
    cut = generator.cut(layer, generator.latents(seeds))
    output = generator.output(layer, cut)
    step = STEP * (output + _later_bias(generator, layer))
    signs = torch.randint(0, 2, output.shape, generator=torch.Generator().manual_seed(0)).to(output) * 2 - 1
    # What follows a layer may write into what it is given.
    before, uniform, local = (
        generator.onward(layer, cut, each) for each in (output.clone(), output + step, output + step * signs)
    )
    seen = [(after - before).square().mean().sqrt() for after in (uniform, local)]
    return float(seen[0] / seen[1]) if seen[1] > 0 else 1.0


def _later_bias(generator: Generator, layer: str) -> Float[Tensor, "#units 1 1"]:
    """The bias that the network adds to the output of a layer, in units of the output; zero where it holds it."""
    bias, after = generator.bias(layer), generator.layer(layer).bias_after
    if bias is None or after is None:
        return torch.zeros(1, 1, 1, device=generator.device)
    return bias.reshape(-1, 1, 1) / after
