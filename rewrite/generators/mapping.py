"""From z to w (Karras et al. 2019), and the linear layers of equalised learning rate that it is made of.

StyleGAN2, its discriminator and StyleGAN3 share them.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewrite.generators.classes import Label, classes_of
from rewrite.generators.latents import Latents

LEAK, GAIN = 0.2, math.sqrt(2)
# As many as rosinality's tools draw by default.
MEAN_OVER = 4096


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU with slope 0.2, times √2."""
    return F.leaky_relu(x, LEAK) * GAIN


def normal(*shape: int, over: float = 1.0) -> nn.Parameter:
    """Normal numbers to begin training with, divided by `over`."""
    numbers = torch.empty(shape)
    # Where shapes alone count, none are drawn: torch would import its compiler for that, which takes seconds.
    return nn.Parameter(numbers if numbers.is_meta else numbers.normal_() / over)


class Linear(nn.Module):
    """A linear layer with equalised learning rate: the effective weight is `weight * gain`."""

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0):
        super().__init__()
        self.weight = normal(outputs, inputs, over=rate)
        self.bias = nn.Parameter(torch.full([outputs], bias / rate))
        self.gain, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight * self.gain, self.bias * self.rate
        if self.training:
            return F.linear(x, weight, bias)
        # One product for each image: a product over the whole batch rounds differently for each batch size.
        return torch.cat([F.linear(row, weight, bias) for row in x.split(1)])


class Mapping(nn.Module):
    """z (and a class) to w: second moments are normalised, then linear layers with leaky ReLU."""

    w_avg: Tensor

    def __init__(
        self, z_dim: int, w_dim: int, depth: int, *, c_dim: int = 0, embed_dim: int | None = None, rate: float = 0.01
    ):
        super().__init__()
        self.z_dim, self.depth, self.c_dim = z_dim, depth, c_dim
        self._mean: Tensor | None = None
        inputs = z_dim
        if c_dim:
            self.embed = Linear(c_dim, embed_dim or w_dim)
            inputs += embed_dim or w_dim
        for i in range(depth):
            setattr(self, f"fc{i}", Linear(w_dim if i else inputs, w_dim, rate=rate))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        x = _normalised(z)
        if self.c_dim:
            x = torch.cat([x, _normalised(self.embed(z.new_zeros(len(z), self.c_dim) if c is None else c))], dim=1)
        for i in range(self.depth):
            x = activate(getattr(self, f"fc{i}")(x))
        return x

    @property
    def averaged(self) -> bool:
        """Whether it has a mean latent, as networks do that kept one in training."""
        return bool(self.w_avg.any())

    def mean(self) -> Tensor:
        """The mean latent: that of training where it was kept, or that of many z, as rosinality's tools take it."""
        if self.averaged:
            return self.w_avg
        mean = self._mean
        if mean is None:
            z = torch.randn(MEAN_OVER, self.z_dim, generator=torch.Generator().manual_seed(0)).to(self.w_avg)
            mean = self._mean = self(z).mean(dim=0)
        return mean.to(self.w_avg)

    def styles(self, latents: Latents, label: Label, truncation: float, count: int) -> Tensor:
        """The w of each image for each of several layers, shape (images, count, w_dim).

        Latents that are w already are taken as they are: neither the class nor the truncation changes them.
        """
        if latents.w is not None:
            return latents.w.expand(-1, count, -1)
        w = self(latents.z, one_hot(label, self.c_dim, latents))
        if truncation != 1:
            w = self.mean().lerp(w, truncation)
        return w[:, None].expand(-1, count, -1)


def one_hot(label: Label, count: int, latents: Latents) -> Tensor | None:
    """The class of each image as one-hot rows; None for a network without classes.

    Args:
        label: The class of all images, or those of seeds.
        count: How many classes there are.
        latents: What images are drawn from.

    Raises:
        ValueError: There is no such class.
    """
    if not count:
        return None
    numbers = torch.tensor(classes_of(label, latents.seeds, count), dtype=torch.int64)
    return F.one_hot(numbers, count).to(latents.z)


def _normalised(x: Tensor) -> Tensor:
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
