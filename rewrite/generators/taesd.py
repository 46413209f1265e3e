"""The decoder of TAESD, the tiny autoencoder of Stable Diffusion's latents (Boer Bohan), in plain PyTorch.

https://github.com/madebyollin/taesd: latents are bounded softly, then convolutions, residual blocks and upsampling to
the nearest neighbour follow. Parts are named by their places in its `nn.Sequential`: `layers.1.weight`,
`layers.3.conv.0.weight`, `layers.7.weight`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BOUND = 3.0


@dataclass(frozen=True)
class Part:
    """A part with numbers of its own: a residual block, or a convolution.

    Attributes:
        inputs, outputs: Numbers of channels.
        block: Whether it is a block.
        bias: Whether a convolution has a bias.
    """

    inputs: int
    outputs: int
    block: bool
    bias: bool = True


class Block(nn.Module):
    """Three convolutions with ReLU between them, the shortcut, and ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        sizes = (inputs, outputs, outputs)
        convolutions = [nn.Conv2d(size, outputs, 3, padding=1) for size in sizes]
        self.conv = nn.Sequential(convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU(), convolutions[2])
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + self.skip(x))


class TinyDecoder(nn.Module):
    """From latents (images, channels, height, width) to images (images, 3, 8 height, 8 width) in [-1, 1].

    Args:
        parts: The parts with numbers, by their places. The first free place bounds the latents, ReLU takes the second,
            and all others double the side.
    """

    def __init__(self, parts: Mapping[int, Part]):
        super().__init__()
        first = min(parts)
        places = range(first, max(parts) + 1)
        self.layers = nn.ModuleDict({str(place): _made(parts.get(place), place == first + 1) for place in places})

    def forward(self, z: Tensor) -> Tensor:
        x = torch.tanh(z / BOUND) * BOUND
        for layer in self.layers.values():
            x = layer(x)
        return 2 * x - 1


def _made(part: Part | None, second: bool) -> nn.Module:
    if part is None:
        return nn.ReLU() if second else nn.Upsample(scale_factor=2)
    if part.block:
        return Block(part.inputs, part.outputs)
    return nn.Conv2d(part.inputs, part.outputs, 3, padding=1, bias=part.bias)
