"""The critic that the built-in generator is trained against."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewrite.generators.mapping import GAIN, LEAK, Linear, activate


class Conv(nn.Module):
    """A convolution with equalised learning rate; with `active`, leaky ReLU times √2 after it."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, bias: bool = True, active: bool = True
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain, self.stride, self.active = 1 / math.sqrt(inputs * kernel**2), stride, active
        self.padding = (kernel - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        # Leaky ReLU is positively homogeneous: its factor √2 goes into the small tensors before it.
        gain = GAIN if self.active else 1.0
        bias = None if self.bias is None else (self.bias * gain).to(x.dtype)
        y = F.conv2d(x, (self.weight * (self.gain * gain)).to(x.dtype), bias, self.stride, self.padding)
        return F.leaky_relu_(y, LEAK) if self.active else y


class Residual(nn.Module):
    """Two convolutions and a shortcut; halves the side."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv0 = Conv(inputs, inputs, 3)
        self.conv1 = Conv(inputs, outputs, 3)
        self.skip = Conv(inputs, outputs, 1, bias=False, active=False)

    def forward(self, x: Tensor) -> Tensor:
        # Pooling before the second convolution costs a quarter of pooling after it.
        y = self.conv1(F.avg_pool2d(self.conv0(x), 2))
        return (y + self.skip(F.avg_pool2d(x, 2))) / math.sqrt(2)


class Discriminator(nn.Module):
    """A residual discriminator whose body begins at 32x32, whatever the images' side.

    Images of 64x64 enter through a 4x4 convolution of stride 2: the body has the same cost and the
    same weights as at 32x32, so that training can grow without starting the critic anew.
    """

    def __init__(self, channels: dict[int, int]):
        super().__init__()
        self.channels = channels
        self.enter16 = Conv(3, channels[16], 1)
        self.enter32 = Conv(3, channels[32], 1)
        self.enter64 = Conv(3, channels[32], 4, stride=2)
        self.body32 = Residual(channels[32], channels[16])
        self.body16 = Residual(channels[16], channels[8])
        self.body8 = Residual(channels[8], channels[4])
        self.conv = Conv(channels[4] + 1, channels[4], 3)
        self.fc = Linear(channels[4] * 16, channels[4])
        self.out = Linear(channels[4], 1)

    @torch.no_grad()
    def grow(self) -> None:
        """Make the entrance for 64x64 see exactly what the entrance for 32x32 sees of the halved image."""
        self.enter64.weight.zero_()
        self.enter64.weight[:, :, 1:3, 1:3] = self.enter32.weight * (self.enter32.gain / self.enter64.gain / 4)
        self.enter64.bias.copy_(self.enter32.bias)

    def forward(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        side = images.shape[-1]
        x = getattr(self, f"enter{side}")(images.to(dtype))
        for level in (32, 16, 8):
            if level <= side:
                x = getattr(self, f"body{level}")(x)
        x = torch.cat([x, _batch_deviation(x)], dim=1)
        x = self.conv(x).flatten(1).float()
        return self.out(activate(self.fc(x)))


def _batch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """Karras et al. 2018: the mean deviation within groups of images, as one more channel."""
    n, _, h, w = x.shape
    group = math.gcd(group, n)
    deviation = x.float().reshape(group, n // group, -1).var(dim=0, unbiased=False).add(1e-8).sqrt().mean(dim=1)
    return deviation.repeat(group)[:, None, None, None].expand(n, 1, h, w).to(x.dtype)
