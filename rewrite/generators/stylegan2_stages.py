"""The stages of a StyleGAN2: modulated convolutions, colours and shortcuts.

A modulated convolution is written as *scale the input, convolve with the shared weight, scale the
output*: the same numbers as the fused form, no grouped convolution, and the tensor that enters the
convolution is exactly the key.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewrite.generators.demodulation import demodulation_of
from rewrite.generators.filters import Blur
from rewrite.generators.mapping import GAIN, LEAK, Linear, normal


class SynthesisLayer(nn.Module):
    """A modulated convolution with noise, bias and leaky ReLU; with `up`, it doubles the side.

    key = style ⊙ x → convolution → demodulation (→ blur) → noise → bias → activation → clamp.

    Args:
        inputs, outputs: Numbers of channels.
        w_dim: Length of w.
        size: Height and width of what it writes.
        up: Whether it doubles the side.
        gain: The effective weight is the stored one times this (rosinality's files; 1 in NVIDIA's).
        clamp: Outputs beyond ± this are cut off; None for no limit.
        scale: The output of a residual block's second layer is scaled by this.
    """

    noise_const: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        size: tuple[int, int],
        *,
        up: bool,
        gain: float = 1.0,
        clamp: float | None = None,
        scale: float = 1.0,
    ):
        super().__init__()
        self.up, self.size, self.gain, self.clamp, self.scale = up, size, gain, clamp, scale
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = normal(outputs, inputs, 3, 3)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", normal(*size).data)
        if up:
            self.blur = Blur(4.0)

    def key(self, x: Tensor, style: Tensor) -> Tensor:
        """What the convolution reads."""
        return x * style[:, :, None, None].to(x.dtype)

    def demodulation(self, style: Tensor) -> Tensor:
        """The factor on each output channel, shape (images, outputs)."""
        return demodulation_of(style, self.weight * self.gain)

    def convolve(self, key: Tensor) -> Tensor:
        """The linear map that an edit changes, before demodulation and blur."""
        weight = (self.weight * self.gain).to(key.dtype)
        if self.up:
            return F.conv_transpose2d(key, weight.transpose(0, 1), stride=2)
        return F.conv2d(key, weight, padding=1)

    def finish(self, written: Tensor, demodulation: Tensor, noise: Tensor | None) -> Tensor:
        """From what the convolution wrote to the layer's output."""
        # Leaky ReLU is positively homogeneous: factors that follow it go into the small tensors before it.
        gain = GAIN * self.scale
        y = written * (demodulation * gain)[:, :, None, None].to(written.dtype)
        if self.up:
            y = self.blur(y)
        if noise is not None:
            y = y + (noise * (self.noise_strength * gain)).to(y.dtype)
        y = F.leaky_relu_(y + (self.bias * gain)[:, None, None].to(y.dtype), LEAK)
        return y if self.clamp is None else y.clamp_(-self.clamp * self.scale, self.clamp * self.scale)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        style = self.affine(w)
        return self.finish(self.convolve(self.key(x, style)), self.demodulation(style), noise)


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to colours, without demodulation."""

    def __init__(self, inputs: int, w_dim: int, colours: int = 3, clamp: float | None = None):
        super().__init__()
        self.clamp = clamp
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = normal(colours, inputs, 1, 1)
        self.bias = nn.Parameter(torch.zeros(colours))
        self.gain = 1 / math.sqrt(inputs)

    def key(self, x: Tensor, style: Tensor) -> Tensor:
        """What the convolution reads."""
        return x * (style * self.gain)[:, :, None, None].to(x.dtype)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.finish(F.conv2d(self.key(x, self.affine(w)), self.weight.to(x.dtype)))

    def finish(self, written: Tensor) -> Tensor:
        """From what the convolution wrote to colours."""
        y = written + self.bias[:, None, None].to(written.dtype)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class Shortcut(nn.Module):
    """What a residual block adds to its output: a 1x1 convolution of its input, at twice the side."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = normal(outputs, inputs, 1, 1)
        self.gain = 1 / math.sqrt(inputs)
        self.blur = Blur(4.0)

    def finish(self, written: Tensor) -> Tensor:
        """From what the convolution wrote to what is added."""
        return self.blur.upsample(written) * math.sqrt(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(F.conv2d(x, (self.weight * self.gain).to(x.dtype)))


Stage = SynthesisLayer | ToRGB | Shortcut
