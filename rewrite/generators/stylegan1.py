"""StyleGAN (Karras et al., CVPR 2019) as rosinality wrote it in PyTorch, by its names, with plain weights.

https://github.com/rosinality/style-based-gan-pytorch: in each block noise, leaky ReLU and a normalisation of each map,
which w scales, twice. Weights are those that the network runs with: equalised ones times their gain.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewrite.generators.latents import Latents
from rewrite.generators.margins import extending
from rewrite.generators.wrapped import WrappedGenerator

LEAK, FIRST = 0.2, 4
# As many latents as rosinality's tool takes the mean of.
MEAN_OVER = 10_240


@dataclass(frozen=True)
class OneDesign:
    """The architecture of a StyleGAN.

    Attributes:
        z_dim: Length of z and w.
        depth: Number of linear layers from z to w.
        channels: Number of channels of each block, from 4x4 on.
        fused: For each block whether it doubles the side within its first convolution.
    """

    z_dim: int
    depth: int
    channels: tuple[int, ...]
    fused: tuple[bool, ...]


class Equal(nn.Module):
    """What rosinality's names have around a layer: `conv` or `linear`."""

    def __init__(self, name: str, layer: nn.Module):
        super().__init__()
        self.name = name
        self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.get_submodule(self.name)(x)


class Scaled(nn.Module):
    """Each map is normalised, then scaled and moved as w says."""

    def __init__(self, channels: int, z_dim: int):
        super().__init__()
        self.style = Equal("linear", nn.Linear(z_dim, 2 * channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        gain, shift = self.style(w)[:, :, None, None].chunk(2, dim=1)
        return gain * F.instance_norm(x) + shift


class Noise(nn.Module):
    """Noise with a weight for each channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.weight * noise


class Constant(nn.Module):
    """The first map, equal for all images."""

    def __init__(self, channels: int):
        super().__init__()
        self.input = nn.Parameter(torch.zeros(1, channels, FIRST, FIRST))

    def forward(self, w: Tensor) -> Tensor:
        return self.input.expand(len(w), -1, -1, -1)


class Blur(nn.Module):
    """The filter [1, 2, 1] ⊗ [1, 2, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        taps = torch.tensor([1.0, 2.0, 1.0], device=x.device, dtype=x.dtype) / 4
        return F.conv2d(x, torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


class Block(nn.Module):
    """Two convolutions of one side, the first of which doubles it; or the constant and one convolution.

    One map of normal noise is added after both; torch draws it, anew at each run.
    """

    def __init__(self, inputs: int, outputs: int, z_dim: int, *, first: bool, fused: bool):
        super().__init__()
        self.first = first
        self.conv1 = Constant(outputs) if first else _doubling(inputs, outputs, fused=fused)
        self.noise1, self.adain1 = Noise(outputs), Scaled(outputs, z_dim)
        self.conv2 = Equal("conv", nn.Conv2d(outputs, outputs, 3, padding=1))
        self.noise2, self.adain2 = Noise(outputs), Scaled(outputs, z_dim)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = self.conv1(w if self.first else x)
        noise = torch.randn(len(x), 1, *x.shape[2:], dtype=x.dtype).to(x.device)
        x = self.adain1(F.leaky_relu(self.noise1(x, noise), LEAK), w)
        return self.adain2(F.leaky_relu(self.noise2(self.conv2(x), noise), LEAK), w)


class StyleGAN1(nn.Module):
    """From w, one for each block (images, blocks, length), to images (images, 3, side, side) in about [-1, 1].

    Args:
        design: Its architecture.
    """

    def __init__(self, design: OneDesign):
        super().__init__()
        self.design = design
        linear = [Equal("linear", nn.Linear(design.z_dim, design.z_dim)) for _ in range(design.depth)]
        # rosinality's numbers count the normalisation before them and the activations between.
        self.style = nn.ModuleDict({str(2 * number + 1): each for number, each in enumerate(linear)})
        sizes = zip((design.channels[0], *design.channels), design.channels, design.fused, strict=False)
        blocks = [
            Block(inputs, outputs, design.z_dim, first=number == 0, fused=fused)
            for number, (inputs, outputs, fused) in enumerate(sizes)
        ]
        last = str(len(blocks) - 1)
        colours = nn.ModuleDict({last: Equal("conv", nn.Conv2d(design.channels[-1], 3, 1))})
        self.generator = nn.ModuleDict({"progression": nn.ModuleList(blocks), "to_rgb": colours})

    def forward(self, ws: Tensor) -> Tensor:
        x = ws[:, 0]
        for block, w in zip(self._parts("progression"), ws.unbind(dim=1), strict=True):
            x = block(x, w)
        (colours,) = self._parts("to_rgb")
        return colours(x)

    def mapped(self, z: Tensor) -> Tensor:
        """The w of z, (images, length)."""
        x = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
        for layer in self.style.values():
            x = F.leaky_relu(layer(x), LEAK)
        return x

    def _parts(self, name: str) -> list[nn.Module]:
        return list(self.generator[name].children())


class StyleGAN1Generator(WrappedGenerator):
    """A StyleGAN, which draws noise by the seed, image by image; it takes w and W+, one for each block."""

    module: StyleGAN1

    def __init__(self, network: StyleGAN1):
        super().__init__(network, network.design.z_dim, None, None)
        fused = {f"generator.progression.{number}.conv1.0" for number, each in enumerate(network.design.fused) if each}
        # Their maps have one cell more than what follows: half of one on each side.
        self.layers = {name: extending(each, 0.5) if name in fused else each for name, each in self.layers.items()}
        z = torch.randn(MEAN_OVER, self.z_dim, generator=torch.Generator().manual_seed(0)).to(self.device, self.dtype)
        with torch.no_grad():
            self._mean = network.mapped(z).mean(dim=0)

    @property
    def styles_shape(self) -> tuple[int, int]:
        return len(self.module.design.channels), self.module.design.z_dim

    @torch.no_grad()
    def styles(self, latents: Latents) -> Tensor:
        count = self.styles_shape[0]
        if latents.w is not None:
            return latents.w.expand(-1, count, -1)
        w = self.module.mapped(latents.z)
        if self.truncation != 1:
            w = self._mean.to(w).lerp(w, self.truncation)
        return w[:, None].expand(-1, count, -1)

    def _called(self, latents: Latents) -> Tensor:
        return self.module(self.styles(latents))


def _doubling(inputs: int, outputs: int, *, fused: bool) -> nn.Module:
    return _fused(inputs, outputs) if fused else nn.Sequential(*_separate(inputs, outputs), Blur())


def _fused(inputs: int, outputs: int) -> nn.Sequential:
    """Doubling and a convolution in one.

    rosinality averages four kernels of 3, each shifted by a pixel or not along either axis, to one of 4. The mean of
    four pixels of what the kernel of 3 writes is the same, and that kernel can be edited.
    """
    convolution = nn.ConvTranspose2d(inputs, outputs, 3, stride=2)
    return nn.Sequential(OrderedDict({"0": convolution, "mean": nn.AvgPool2d(2, stride=1), "1": Blur()}))


def _separate(inputs: int, outputs: int) -> Sequence[nn.Module]:
    return nn.Upsample(scale_factor=2), Equal("conv", nn.Conv2d(inputs, outputs, 3, padding=1))
