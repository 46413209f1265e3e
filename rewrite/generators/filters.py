"""The low-pass filters of StyleGAN2 and StyleGAN3, and sampling up and down with them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_TAPS = 256


class Blur(nn.Module):
    """The fixed low-pass filter [1, 3, 3, 1] ⊗ [1, 3, 3, 1] that follows or accompanies upsampling."""

    taps: Tensor

    def __init__(self, factor: float = 1.0):
        super().__init__()
        taps = [[a * b * factor / 64 for b in (1, 3, 3, 1)] for a in (1, 3, 3, 1)]
        # A network that is built without numbers gets them from a file, which has none for a constant.
        self.register_buffer("taps", torch.tensor(taps, device="cpu"), persistent=False)

    def forward(self, x: Tensor, padding: int = 1) -> Tensor:
        channels = x.shape[1]
        taps = self.taps.to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv2d(x, taps, padding=padding, groups=channels)

    def upsample(self, x: Tensor) -> Tensor:
        """Double the side of x: zeros between the pixels, then the filter."""
        channels = x.shape[1]
        taps = self.taps.to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv_transpose2d(x, taps, stride=2, padding=1, groups=channels)


def low_pass(taps: int, cutoff: float, width: float, rate: int, *, radial: bool = False) -> Tensor | None:
    """A Kaiser-windowed low-pass filter; separable [taps], or radially symmetric [taps, taps] (paper, appendix C)."""
    if taps == 1:
        return None
    if taps > MOST_TAPS:
        raise ValueError(f"a low-pass filter has at most {MOST_TAPS} taps, got {taps}")
    # Importing these takes long, and only StyleGAN3 needs them.
    from scipy import signal, special

    if not radial:
        return torch.as_tensor(signal.firwin(taps, cutoff, width=width, fs=rate), dtype=torch.float32)
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.hypot(*np.meshgrid(x, x))
    window = np.kaiser(taps, signal.kaiser_beta(signal.kaiser_atten(taps, width / (rate / 2))))
    taps_of_both = special.j1(2 * cutoff * np.pi * radius) / (np.pi * radius) * np.outer(window, window)
    return torch.as_tensor(taps_of_both / taps_of_both.sum(), dtype=torch.float32)


def sampled_up(x: Tensor, taps: Tensor | None, by: int, padding: Sequence[tuple[int, int]]) -> Tensor:
    """Put zeros between the samples, pad (or crop, where negative) and filter, each axis by itself.

    Args:
        x: Maps.
        taps: The filter; None for none.
        by: How many times finer.
        padding: Before and behind the columns, then the rows.
    """
    if taps is None:
        return F.pad(x, (*padding[0], *padding[1]))
    channels, count = x.shape[1], len(taps)
    kernel = (taps * by).expand(channels, 1, 1, count)
    # A transposed convolution filters the spread samples in full; padding says which part of that is wanted.
    for axis, (shape, stride) in enumerate((((1, count), (1, by)), ((count, 1), (by, 1)))):
        length = x.shape[3 - axis] * by + sum(padding[axis]) - (count - 1)
        full = F.conv_transpose2d(x, kernel.reshape(channels, 1, *shape), stride=stride, groups=channels)
        before = padding[axis][0] - (count - 1)
        after = length - before - full.shape[3 - axis]
        x = F.pad(full, (before, after) if axis == 0 else (0, 0, before, after))
    return x


def sampled_down(x: Tensor, taps: Tensor | None, by: int) -> Tensor:
    """Filter, and keep one sample in `by`."""
    if taps is None:
        return x[:, :, ::by, ::by]
    channels = x.shape[1]
    if taps.ndim == 2:
        return F.conv2d(x, taps.flip(0, 1).expand(channels, 1, *taps.shape), stride=by, groups=channels)
    kernel = taps.flip(0).expand(channels, 1, 1, len(taps))
    x = F.conv2d(x, kernel, stride=(1, by), groups=channels)
    return F.conv2d(x, kernel.transpose(2, 3), stride=(by, 1), groups=channels)
