"""DCGAN (Radford et al., ICLR 2016) in plain PyTorch: transposed convolutions, batch normalisation, ReLU, tanh."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Stage:
    """One transposed convolution.

    Attributes:
        inputs, outputs: Numbers of channels.
        kernel: Side of the kernel.
        stride, padding, output_padding: As in `nn.ConvTranspose2d`.
        bias: Whether it has a bias.
        norm: Whether batch normalisation follows.
    """

    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: int
    output_padding: int
    bias: bool
    norm: bool

    def side(self, side: int) -> int:
        """Side of the map that is written where one of this side is read."""
        return (side - 1) * self.stride - 2 * self.padding + self.kernel + self.output_padding


@dataclass(frozen=True)
class Projection:
    """A linear layer from z to the first map.

    Attributes:
        z_dim: Length of z.
        channels, side: The map that is made of its outputs.
        bias: Whether it has a bias.
        norm: How many outputs batch normalisation tells apart: all of them, or the channels; 0 for none.
    """

    z_dim: int
    channels: int
    side: int
    bias: bool
    norm: int

    @property
    def outputs(self) -> int:
        """Number of outputs of the linear layer."""
        return self.channels * self.side**2


class Projected(nn.Module):
    """The first map: linear layer, batch normalisation, ReLU."""

    def __init__(self, how: Projection):
        super().__init__()
        self.how = how
        self.linear = nn.Linear(how.z_dim, how.outputs, bias=how.bias)
        # One kind for both: before the outputs become a map, each is a channel of one pixel.
        self.norm = nn.BatchNorm2d(how.norm) if how.norm else None

    def forward(self, z: Tensor) -> Tensor:
        how = self.how
        x = self.linear(z)
        if self.norm is not None:
            x = self.norm(x.reshape(len(x), how.norm, -1, 1))
        return F.relu(x.reshape(len(x), how.channels, how.side, how.side))


class Block(nn.Module):
    """Transposed convolution and batch normalisation; the network applies the activation."""

    def __init__(self, stage: Stage):
        super().__init__()
        self.conv = nn.ConvTranspose2d(
            stage.inputs,
            stage.outputs,
            stage.kernel,
            stage.stride,
            stage.padding,
            stage.output_padding,
            bias=stage.bias,
        )
        self.norm = nn.BatchNorm2d(stage.outputs) if stage.norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.norm is None else self.norm(x)


class DCGAN(nn.Module):
    """A DCGAN of any side and width, from z (images, length) to images (images, 3, side, side) in [-1, 1].

    ReLU follows every layer but the last, tanh the last. A network of one colour gives it in all three channels.

    Args:
        stages: The transposed convolutions, named `layer1`, `layer2` and so on.
        projection: What is before them; if left out, the first one reads z as a map of one pixel.
    """

    def __init__(self, stages: Sequence[Stage], projection: Projection | None = None):
        super().__init__()
        self.project = None if projection is None else Projected(projection)
        for number, stage in enumerate(stages):
            self.add_module(f"layer{number + 1}", Block(stage))
        self.depth = len(stages)

    def forward(self, z: Tensor) -> Tensor:
        x = z[:, :, None, None] if self.project is None else self.project(z)
        for number in range(1, self.depth + 1):
            x = self.get_submodule(f"layer{number}")(x)
            x = torch.tanh(x) if number == self.depth else F.relu(x)
        return x.expand(-1, 3, -1, -1)
