"""BigGAN (Brock et al., ICLR 2019) in plain PyTorch, by the names of its authors' code, with plain weights.

https://github.com/ajbrock/BigGAN-PyTorch: residual blocks whose batch normalisation is scaled by what a class says, and
perhaps a part of z of their own (`hier`). Weights are those that the network runs with: what their spectral norm gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewrite.generators.classes import classes_of
from rewrite.generators.latents import Latents
from rewrite.generators.wrapped import WrappedGenerator


@dataclass(frozen=True)
class BigDesign:
    """The architecture of a BigGAN.

    Attributes:
        classes: Number of classes.
        shared: Length of what stands for a class.
        chunk: How many numbers of z the first layer reads.
        hier: Whether each block reads as many of its own; else all read the class alone.
        side: Side of the first map.
        channels: Numbers of channels before the first block and after each.
        attends: The blocks that attention follows.
    """

    classes: int
    shared: int
    chunk: int
    hier: bool
    side: int
    channels: tuple[int, ...]
    attends: tuple[int, ...] = ()

    @property
    def z_dim(self) -> int:
        """Length of z."""
        return self.chunk * (len(self.channels) if self.hier else 1)


class ConditionalNorm(nn.Module):
    """Batch normalisation by kept statistics, then a gain and a bias for each image."""

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, channels: int, condition: int):
        super().__init__()
        self.gain = nn.Linear(condition, channels, bias=False)
        self.bias = nn.Linear(condition, channels, bias=False)
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = F.batch_norm(x, self.stored_mean, self.stored_var)
        return x * (1 + self.gain(y))[:, :, None, None] + self.bias(y)[:, :, None, None]


class Norm(nn.Module):
    """Batch normalisation by kept statistics."""

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.stored_mean, self.stored_var, self.gain, self.bias)


class Block(nn.Module):
    """Normalisation, ReLU and convolution, twice; the side doubles before the first. A shortcut is added."""

    def __init__(self, inputs: int, outputs: int, condition: int):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_sc = nn.Conv2d(inputs, outputs, 1)
        self.bn1, self.bn2 = ConditionalNorm(inputs, condition), ConditionalNorm(outputs, condition)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.conv1(F.interpolate(F.relu(self.bn1(x, y)), scale_factor=2))
        return self.conv2(F.relu(self.bn2(h, y))) + self.conv_sc(F.interpolate(x, scale_factor=2))


class Attention(nn.Module):
    """Every position attends to all of a map of half the side (Zhang et al., ICML 2019)."""

    def __init__(self, channels: int):
        super().__init__()
        self.theta, self.phi = (nn.Conv2d(channels, channels // 8, 1, bias=False) for _ in range(2))
        self.g = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.o = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros([]))

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        query = self.theta(x).flatten(2)
        key, value = (F.max_pool2d(each(x), 2).flatten(2) for each in (self.phi, self.g))
        shares = (query.transpose(1, 2) @ key).softmax(dim=2)
        found = (value @ shares.transpose(1, 2)).unflatten(2, x.shape[2:])
        return self.gamma * self.o(found) + x


class BigGAN(nn.Module):
    """From z (images, length) and classes (images) to images (images, 3, side, side) in [-1, 1].

    Args:
        design: Its architecture.
    """

    def __init__(self, design: BigDesign):
        super().__init__()
        self.design, first = design, design.channels[0]
        condition = design.shared + (design.chunk if design.hier else 0)
        self.shared = nn.Embedding(design.classes, design.shared)
        self.linear = nn.Linear(design.chunk, first * design.side**2)
        sizes = zip(design.channels, design.channels[1:], strict=False)
        parts: list[list[nn.Module]] = [[Block(inputs, outputs, condition)] for inputs, outputs in sizes]
        for number in design.attends:
            parts[number].append(Attention(design.channels[number + 1]))
        self.blocks = nn.ModuleList([nn.ModuleList(each) for each in parts])
        last = design.channels[-1]
        self.output_layer = nn.Sequential(Norm(last), nn.ReLU(), nn.Conv2d(last, 3, 3, padding=1))

    def forward(self, z: Tensor, classes: Tensor) -> Tensor:
        design, y = self.design, self.shared(classes)
        first, *others = z.split(design.chunk, dim=1)
        x = self.linear(first).reshape(len(z), -1, design.side, design.side)
        for block, condition in zip(self.blocks, self._conditions(y, others), strict=True):
            assert isinstance(block, nn.ModuleList)
            for part in block:
                x = part(x, condition)
        return torch.tanh(self.output_layer(x))

    def _conditions(self, y: Tensor, chunks: Sequence[Tensor]) -> list[Tensor]:
        """What each block reads."""
        return [torch.cat([y, chunk], dim=1) for chunk in chunks] if self.design.hier else [y] * len(self.blocks)


class BigGANGenerator(WrappedGenerator):
    """A BigGAN of classes; `truncation` is a factor on z."""

    module: BigGAN

    def __init__(self, network: BigGAN):
        self.classes = network.design.classes
        super().__init__(network, network.design.z_dim, None, None)

    def _called(self, latents: Latents) -> Tensor:
        classes = torch.tensor(classes_of(self.label, latents.seeds, self.classes), device=latents.z.device)
        return self.module(latents.z * self.truncation, classes)
