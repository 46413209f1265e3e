"""Modules as users bring them, wrapped: one of each kind of layer, of latents and of computed weights."""

import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from rewrite import wrap


class Mixed(nn.Module):
    """Layers of every plain kind, in an order that no container shows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.last = nn.Conv2d(4, 3, 3, padding="same", dilation=2)
        self.up = nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1)
        self.grouped = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.lift = nn.Linear(5, 6 * 16)
        self.mixing = nn.Linear(16, 16)
        self.twice = nn.Conv2d(6, 6, 1)
        self.unused = nn.Conv2d(1, 1, 1)
        self.mirrored = nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect")

    def forward(self, z):
        x = F.leaky_relu(self.lift(z)).reshape(len(z), 6, 16)
        x = (x + self.mixing(x)).reshape(len(z), 6, 4, 4)
        x = self.twice(F.leaky_relu(self.twice(x)))
        x = F.leaky_relu(self.grouped(x) + self.mirrored(x))
        return torch.tanh(self.last(F.leaky_relu(self.up(x))))


class Chancy(nn.Module):
    """A network that draws noise of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, z):
        x = z.reshape(-1, 2, 2, 2).repeat(1, 1, 4, 4)
        return torch.tanh(self.conv(x + 0.1 * torch.randn_like(x)))


class Crowd(nn.Module):
    """A network whose images hang on their batch (normalisation in training mode)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.conv, self.norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, z):
        return torch.tanh(self.norm(self.conv(z.reshape(-1, 2, 2, 2).repeat(1, 1, 4, 4))))


class Modulated(nn.Module):
    """rosinality's modulated convolution, as far as its users see it."""

    def __init__(self, inputs, outputs, kernel, demodulate=True, upsample=False):
        super().__init__()
        self.demodulate, self.upsample, self.kernel = demodulate, upsample, kernel
        self.scale = 1 / np.sqrt(inputs * kernel**2)
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.modulation = nn.Linear(5, inputs)
        self.blur = nn.AvgPool2d(2, 1)

    def forward(self, x, w):
        style = self.modulation(w)
        weight = self.scale * self.weight * style[:, None, :, None, None]
        if self.demodulate:
            weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        drawn = []
        for image, mine in zip(x, weight, strict=True):
            if self.upsample:
                drawn.append(self.blur(F.conv_transpose2d(image[None], mine.transpose(0, 1), stride=2)))
            else:
                drawn.append(F.conv2d(image[None], mine, padding=self.kernel // 2))
        return torch.cat(drawn)


class Styled(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.const = nn.Parameter(torch.randn(1, 4, 4, 4))
        self.first, self.second = Modulated(4, 6, 3, upsample=True), Modulated(6, 6, 3)
        self.colours = Modulated(6, 3, 1, demodulate=False)

    def forward(self, w):
        x = F.leaky_relu(self.first(self.const.expand(len(w), -1, -1, -1), w))
        return torch.tanh(self.colours(F.leaky_relu(self.second(x, w)), w))


class Nvidia(nn.Module):
    """NVIDIA's synthesis layer, as far as its users see it."""

    def __init__(self, inputs, outputs, resolution, up=1):
        super().__init__()
        self.up, self.resolution = up, resolution
        self.affine = nn.Linear(5, inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.randn(outputs))
        self.blur = nn.AvgPool2d(2, 1)

    def forward(self, x, w, gain=1):
        style = self.affine(w)
        x, power = x * style[:, :, None, None], self.weight.square().sum(dim=(2, 3))
        if self.up == 2:
            x = self.blur(F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, self.weight, padding=1)
        x = x * (style.square() @ power.T + 1e-8).rsqrt()[:, :, None, None]
        return F.leaky_relu(x + self.bias[:, None, None], 0.2) * gain


class Synthesis(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.const = nn.Parameter(torch.randn(1, 4, 4, 4))
        self.first, self.second = Nvidia(4, 6, 8, up=2), Nvidia(6, 3, 8)

    def forward(self, w):
        return torch.tanh(self.second(self.first(self.const.expand(len(w), -1, -1, -1), w), w, gain=0.5))


class Sequences(nn.Module):
    """Convolutions along a sequence, whose positions become pixels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.lift = nn.Linear(6, 4 * 16)
        self.mixing = nn.Conv1d(4, 6, 3, padding=2, dilation=2, padding_mode="circular")
        self.up = nn.ConvTranspose1d(6, 3, 4, stride=4, groups=3, bias=False)

    def forward(self, z):
        x = F.leaky_relu(self.mixing(F.leaky_relu(self.lift(z)).unflatten(1, (4, 16))))
        return torch.tanh(self.up(x)).unflatten(2, (8, 8))


class Normed(nn.Module):
    """Convolutions whose weights are computed, by hooks and by parametrisations."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.lift = nn.Linear(5, 4 * 16)
        self.new_weight = parametrizations.weight_norm(nn.Conv2d(4, 5, 3, padding=1))
        self.old_weight = old_weight_norm(nn.ConvTranspose2d(5, 6, 4, stride=2, padding=1))
        self.new_spectral = parametrizations.spectral_norm(nn.Conv2d(6, 7, 3, padding=1))
        self.old_spectral = nn.utils.spectral_norm(nn.Conv2d(7, 3, 3, padding=1))

    def forward(self, z):
        x = F.leaky_relu(self.lift(z)).unflatten(1, (4, 4, 4))
        x = F.leaky_relu(self.old_weight(F.leaky_relu(self.new_weight(x))))
        return torch.tanh(self.old_spectral(F.leaky_relu(self.new_spectral(x))))


def old_weight_norm(module: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(module)


def frozen(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False)


GENERATORS = {
    "mixed": lambda: wrap(frozen(Mixed()), 5),
    "chancy": lambda: wrap(frozen(Chancy()), 8),
    "crowd": lambda: wrap(frozen(Crowd()), 8),
    "styled": lambda: wrap(frozen(Styled()), 5),
    "sequences": lambda: wrap(frozen(Sequences()), 6),
    "normed": lambda: wrap(frozen(Normed()).eval(), 5),
    "nvidia": lambda: wrap(frozen(Synthesis()), 5, ["first", "second"]),
}
