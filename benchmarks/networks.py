"""The networks of benchmarks by name: those of full size have random weights, which cost what trained ones cost."""

import itertools
from pathlib import Path

import torch
from torch import nn

from benchmarks.trained_networks import load_network
from rewrite import Generator, load_generator, wrap
from rewrite.generators.dcgan import DCGAN, Stage
from rewrite.generators.stylegan2 import Design, StyleGAN2
from rewrite.generators.stylegan2_layers import StyleGAN2Generator

FULL_WIDTH = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
TRAINED = ("anime_faces128", "house_numbers32", "faces32", "colosseum", "tree", "santa_cruz")
CHANNELS = (512, 256, 128, 64)


def network(name: str, weights: Path | None = None) -> Generator:
    """A generator: `wide` (StyleGAN2 of 64x64 at full width), `stylegan2-256` and so on, `dcgan`, or a file's name.

    Args:
        name: What it is called.
        weights: The folder of the trained networks of other people, for those.
    """
    torch.manual_seed(0)
    if name in TRAINED and weights is not None:
        return load_network(weights, name)
    if name == "dcgan":
        return wrap(dcgan(), 100)
    if name == "wide" or name.startswith("stylegan2-"):
        return stylegan2(64 if name == "wide" else int(name.removeprefix("stylegan2-")))
    return load_generator(name)


def stylegan2(size: int, widest: int = 512, smallest: int = 4) -> Generator:
    """A StyleGAN2 of full width, or of as many channels at most."""
    channels = {side: min(widest, width) for side, width in FULL_WIDTH.items() if smallest <= side <= size}
    return StyleGAN2Generator(StyleGAN2(Design(z_dim=512, w_dim=512, mapping_layers=8, channels=channels)))


def dcgan() -> nn.Module:
    """A DCGAN of 64x64 whose third layer, 256 to 128 channels, reads keys of 4,096 numbers."""
    first, last = Stage(100, CHANNELS[0], 4, 1, 0, 0, False, True), Stage(CHANNELS[-1], 3, 4, 2, 1, 0, False, False)
    inner = [Stage(*each, 4, 2, 1, 0, False, True) for each in itertools.pairwise(CHANNELS)]
    made = DCGAN([first, *inner, last])
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
            module.momentum = None
    with torch.no_grad():
        made.train()(torch.randn(64, 100))
    return made.eval().requires_grad_(False)
