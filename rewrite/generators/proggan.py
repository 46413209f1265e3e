"""ProgressiveGAN (Karras et al., ICLR 2018) in plain PyTorch, as the dissection papers' checkpoints lay it out.

Layers come in pairs of one resolution; the first of each pair but the first doubles the side. Tensor names are those of
the published `.pth` files: `layer5.conv.weight`, `layer5.wscale.b`, `output_64x64.conv.weight`.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAK = 0.2


class Scale(nn.Module):
    """What follows a convolution: its equalised learning rate as a factor, and its bias."""

    def __init__(self, channels: int, inputs: int, gain: float):
        super().__init__()
        self.factor = gain / math.sqrt(inputs)
        self.b = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor + self.b[:, None, None]


class Block(nn.Module):
    """Pixel normalisation, convolution, scale, leaky ReLU; with `up`, the side is doubled before the convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int, padding: int, *, up: bool):
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False)
        self.wscale = Scale(outputs, inputs, math.sqrt(2) / kernel)

    def forward(self, x: Tensor) -> Tensor:
        x = normalised(x)
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return F.leaky_relu(self.wscale(self.conv(x)), LEAK)


class Colours(nn.Module):
    """The last layer: pixel normalisation, a 1x1 convolution to colours, cut off at ±1."""

    def __init__(self, inputs: int, colours: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(inputs, colours, 1, bias=False)
        self.wscale = Scale(colours, inputs, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.wscale(self.conv(normalised(x))).clamp(-1, 1)


class ProgressiveGAN(nn.Module):
    """A ProgressiveGAN of any side.

    Args:
        sizes: Length of z, then the number of channels at 4x4, 8x8, and so on.
    """

    def __init__(self, sizes: Sequence[int]):
        super().__init__()
        z_dim, *channels = sizes
        if not channels:
            raise ValueError(f"a ProgressiveGAN has channels at 4x4 at least, got sizes {list(sizes)}")
        self.z_dim, self.side = z_dim, 4 * 2 ** (len(channels) - 1)
        self.add_module("layer1", Block(z_dim, channels[0], 4, 3, up=False))
        self.add_module("layer2", Block(channels[0], channels[0], 3, 1, up=False))
        for number, (inputs, outputs) in enumerate(pairwise(channels)):
            self.add_module(f"layer{2 * number + 3}", Block(inputs, outputs, 3, 1, up=True))
            self.add_module(f"layer{2 * number + 4}", Block(outputs, outputs, 3, 1, up=False))
        self.add_module(f"output_{self.side}x{self.side}", Colours(channels[-1]))

    def forward(self, z: Tensor) -> Tensor:
        x = z[:, :, None, None]
        for block in self.children():
            x = block(x)
        return x


def normalised(x: Tensor) -> Tensor:
    """Each position's channels at a mean square of one."""
    return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
