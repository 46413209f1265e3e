"""From z to w (Karras et al. 2019), and the linear layers of equalised learning rate that it is made of.

StyleGAN2, its discriminator and StyleGAN3 share them.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAK, GAIN = 0.2, math.sqrt(2)


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
        self.depth, self.c_dim = depth, c_dim
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


def _normalised(x: Tensor) -> Tensor:
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
