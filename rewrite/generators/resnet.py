"""The residual generator of SNGAN and WGAN-GP (Miyato et al., ICLR 2018) in plain PyTorch.

Its PyTorch ports double the side by bilinear interpolation. Tensor names are those of torch_mimicry:
`l1.weight`, `block2.c1.weight`, `block2.b1.running_mean`, `block2.c_sc.weight`, `b5.weight`, `c5.weight`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Residual:
    """One block.

    Attributes:
        inputs, hidden, outputs: Numbers of channels before, between and after its convolutions.
        up: Whether it doubles the side; its shortcut is a convolution then, and else nothing.
    """

    inputs: int
    hidden: int
    outputs: int
    up: bool


class Block(nn.Module):
    """Batch normalisation, ReLU and 3x3 convolution, twice; the shortcut is added."""

    def __init__(self, how: Residual):
        super().__init__()
        self.up = how.up
        self.c1 = nn.Conv2d(how.inputs, how.hidden, 3, padding=1)
        self.c2 = nn.Conv2d(how.hidden, how.outputs, 3, padding=1)
        self.b1, self.b2 = nn.BatchNorm2d(how.inputs), nn.BatchNorm2d(how.hidden)
        if how.up:
            self.c_sc = nn.Conv2d(how.inputs, how.outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.b1(x))
        y = self.c1(doubled(y) if self.up else y)
        y = self.c2(F.relu(self.b2(y)))
        return y + (self.c_sc(doubled(x)) if self.up else x)


class ResNetGAN(nn.Module):
    """A residual generator of any side and width, from z (images, length) to images (images, 3, side, side) in [-1, 1].

    A network of one colour gives it in all three channels.

    Args:
        z_dim: Length of z.
        side: Side of the first map, which a linear layer makes of z.
        blocks: The blocks, named `block2`, `block3` and so on.
        kernel: Side of the last convolution's kernel.
        colours: Number of channels that the network draws.
    """

    def __init__(self, z_dim: int, side: int, blocks: Sequence[Residual], kernel: int = 3, colours: int = 3):
        super().__init__()
        self.first, self.last = side, len(blocks) + 2
        self.l1 = nn.Linear(z_dim, blocks[0].inputs * side**2)
        for number, how in enumerate(blocks):
            self.add_module(f"block{number + 2}", Block(how))
        self.add_module(f"b{self.last}", nn.BatchNorm2d(blocks[-1].outputs))
        self.add_module(f"c{self.last}", nn.Conv2d(blocks[-1].outputs, colours, kernel, padding=kernel // 2))

    def forward(self, z: Tensor) -> Tensor:
        x = self.l1(z).reshape(len(z), -1, self.first, self.first)
        for number in range(2, self.last):
            x = self.get_submodule(f"block{number}")(x)
        x = F.relu(self.get_submodule(f"b{self.last}")(x))
        return torch.tanh(self.get_submodule(f"c{self.last}")(x)).expand(-1, 3, -1, -1)


def doubled(x: Tensor) -> Tensor:
    """A map at twice the side, interpolated."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
