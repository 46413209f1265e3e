"""StyleGAN3 (Karras et al., NeurIPS 2021) in plain PyTorch: configurations T and R, as named stages.

Every map is a sampled continuous signal: a layer convolves, samples more finely, applies its activation there, and
filters and samples down again. Tensor names and conventions are those of NVIDIA's release; the low-pass filters are
buffers, so that a file brings its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewrite.generators.demodulation import EPSILON, demodulation_of
from rewrite.generators.filters import low_pass, sampled_down, sampled_up
from rewrite.generators.mapping import GAIN, LEAK, Linear, Mapping, normal

LAST = 2  # The last two layers have no margin around the image.


@dataclass(frozen=True)
class Design3:
    """The architecture of a StyleGAN3; the defaults are those of NVIDIA's code, configuration T.

    Attributes:
        z_dim, w_dim: Lengths of z and w.
        img_resolution: Height of an image.
        img_channels: Number of channels of an image.
        mapping_layers: Number of linear layers from z to w.
        c_dim: Number of classes; 0 for none.
        mapping_rate: Learning-rate multiplier of the mapping.
        channel_base, channel_max: A layer has at most channel_base / (2 · cutoff) channels, and at most channel_max.
        num_layers: Number of layers between the input and the colours.
        num_critical: Number of layers at the end that are sampled critically.
        first_cutoff, first_stopband: Cutoff and least stopband of the first layer, in cycles per image.
        last_stopband_rel: Least stopband of the last layer, as a multiple of its cutoff.
        margin_size: Cells by which a map extends beyond the image on each side.
        output_scale: Factor on the image.
        conv_kernel: Side of a convolution: 3 in T, 1 in R.
        filter_size: Taps of a low-pass filter at the lower of two sampling rates.
        lrelu_upsampling: How much finer the activation is applied.
        use_radial_filters: Whether down-sampling filters are radially symmetric, as in R.
        conv_clamp: Limit of what a layer writes; None for none.
        square: Whether images are squares; else all maps are half as wide as high, as those of StyleGAN-Human.
    """

    z_dim: int
    w_dim: int
    img_resolution: int
    img_channels: int = 3
    mapping_layers: int = 2
    c_dim: int = 0
    mapping_rate: float = 0.01
    channel_base: int = 32768
    channel_max: int = 512
    num_layers: int = 14
    num_critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3
    margin_size: int = 10
    output_scale: float = 0.25
    conv_kernel: int = 3
    filter_size: int = 6
    lrelu_upsampling: int = 2
    use_radial_filters: bool = False
    conv_clamp: float | None = 256.0
    square: bool = True

    def __post_init__(self) -> None:
        least = min(self.z_dim, self.w_dim, self.img_channels, self.channel_base, self.channel_max, self.filter_size)
        if least < 1 or not LAST <= self.num_layers <= 64 or not 0 <= self.num_critical < self.num_layers:
            raise ValueError("a StyleGAN3 has 2 to 64 layers, fewer critical ones, and channels in each")
        if not 1 <= self.mapping_layers <= 32:
            raise ValueError(f"a mapping has 1 to 32 layers, got {self.mapping_layers}")
        if self.filter_size > 64:
            raise ValueError(f"a filter has at most 64 taps, got {self.filter_size}")
        if not self.square and (self.img_resolution % 2 or self.margin_size % 2):
            raise ValueError("maps that are half as wide as high are of even heights, margins included")
        if not 4 <= self.img_resolution <= 4096:
            raise ValueError(f"the side of an image is 4 to 4096 pixels, got {self.img_resolution}")
        if not 0 <= self.margin_size <= 64 or self.conv_kernel not in (1, 3) or not 1 <= self.lrelu_upsampling <= 8:
            raise ValueError("a margin has 0 to 64 cells, a kernel 1 or 3, and an activation is 1 to 8 times finer")
        if not self.first_cutoff > 0 or not self.first_stopband > self.first_cutoff or not self.last_stopband_rel > 1:
            raise ValueError("cutoffs are positive, and stopbands lie above them")


@dataclass(frozen=True)
class Band:
    """What a layer writes as a signal: cutoff and half-width of the transition in cycles per image, samples, channels.

    Attributes:
        cutoff, half_width: Frequencies, in cycles per image.
        rate: Samples per height of a square image.
        size: Samples along height and width of a map, margins included.
        channels: Number of channels.
        critical: Whether it is sampled critically.
    """

    cutoff: float
    half_width: float
    rate: int
    size: tuple[int, int]
    channels: int
    critical: bool


def bands(design: Design3) -> list[Band]:
    """The signal that each layer writes, from the first to the colours: geometric progressions of frequencies."""
    last_cutoff = design.img_resolution / 2
    last_stopband = last_cutoff * design.last_stopband_rel
    exponents = np.minimum(np.arange(design.num_layers + 1) / (design.num_layers - design.num_critical), 1)
    cutoffs = design.first_cutoff * (last_cutoff / design.first_cutoff) ** exponents
    stopbands = design.first_stopband * (last_stopband / design.first_stopband) ** exponents
    rates = np.exp2(np.ceil(np.log2(np.minimum(stopbands * 2, design.img_resolution))))
    half_widths = np.maximum(stopbands, rates / 2) - cutoffs
    sizes = rates + design.margin_size * 2
    sizes[-LAST:] = design.img_resolution
    narrowing = 1 if design.square else 2
    channels = np.rint(np.minimum(design.channel_base / 2 / cutoffs, design.channel_max))
    channels[-1] = design.img_channels
    found = zip(cutoffs, half_widths, rates, sizes, channels, strict=True)
    return [
        Band(
            cutoff=float(cutoff),
            half_width=float(half),
            rate=int(rate),
            size=(int(size), int(size) // narrowing),
            channels=int(wide),
            critical=i >= design.num_layers - design.num_critical,
        )
        for i, (cutoff, half, rate, size, wide) in enumerate(found)
    ]


class Resampling(NamedTuple):
    """How a layer samples up before its activation and down after it, and the filters of both."""

    up: int
    down: int
    up_filter: Tensor | None
    down_filter: Tensor | None


def resampling_of(design: Design3, before: Band, after: Band, *, colours: bool) -> Resampling:
    """The resampling of the layer between two signals; `colours` is the last layer, which filters nothing."""
    fine = max(before.rate, after.rate) * (1 if colours else design.lrelu_upsampling)
    up, down = fine // before.rate, fine // after.rate
    up_taps, down_taps = (design.filter_size * by if by > 1 and not colours else 1 for by in (up, down))
    radial = design.use_radial_filters and not after.critical
    widths = (2 * before.half_width, 2 * after.half_width)
    up_filter = low_pass(up_taps, before.cutoff, widths[0], fine)
    return Resampling(up, down, up_filter, low_pass(down_taps, after.cutoff, widths[1], fine, radial=radial))


def random_frequencies(count: int, cutoff: float) -> Tensor:
    """Frequencies of any direction up to a cutoff, one a row."""
    drawn = normal(count, 2).data
    if drawn.is_meta:
        return drawn  # as `normal` does, where shapes alone count
    radii = drawn.square().sum(dim=1, keepdim=True).sqrt()
    return drawn / (radii * radii.square().exp().pow(0.25)) * cutoff


class FourierInput(nn.Module):
    """The first map: sines of random frequencies, turned and moved as w says, then a linear layer at each position."""

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, w_dim: int, band: Band):
        super().__init__()
        self.band, channels = band, band.channels
        self.weight = normal(channels, channels)
        self.affine = Linear(w_dim, 4)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.gain = 1 / math.sqrt(channels)
        self.register_buffer("transform", torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]))
        self.register_buffer("freqs", random_frequencies(channels, band.cutoff))
        self.register_buffer("phases", torch.empty(channels).uniform_(-0.5, 0.5))

    def key(self, w: Tensor) -> Tensor:
        """The sines, shape (images, channels, height, width)."""
        turned = self._placed(w) @ self.transform
        phases = self.phases + (self.freqs @ turned[:, :2, 2:])[..., 0]
        frequencies = self.freqs @ turned[:, :2, :2]
        room = self.band.rate / 2 - self.band.cutoff
        loudness = (1 - (frequencies.norm(dim=2) - self.band.cutoff) / room).clamp(0, 1)
        rows, columns = (self._steps(size).to(w) for size in self.band.size)
        down, right = torch.meshgrid(rows, columns, indexing="ij")
        angle = frequencies[:, :, 0, None, None] * right + frequencies[:, :, 1, None, None] * down
        return torch.sin((angle + phases[..., None, None]) * (2 * math.pi)) * loudness[..., None, None]

    def forward(self, w: Tensor) -> Tensor:
        return torch.einsum("oi,nihw->nohw", self.weight * self.gain, self.key(w))

    def _steps(self, size: int) -> Tensor:
        """Where samples lie along an axis, from the middle of the image, in heights of a square one."""
        return 0.5 * size / self.band.rate * ((2 * torch.arange(size) + 1) / size - 1)

    def _placed(self, w: Tensor) -> Tensor:
        """The rotation and translation that w asks for, as matrices (images, 3, 3)."""
        placement = self.affine(w)
        cosine, sine, across, along = (placement / placement[:, :2].norm(dim=1, keepdim=True)).unbind(dim=1)
        none, one = torch.zeros_like(sine), torch.ones_like(sine)
        turn = [cosine, -sine, none, sine, cosine, none, none, none, one]
        move = [one, none, -across, none, one, -along, none, none, one]
        turned, moved = (torch.stack(entries, dim=1).reshape(-1, 3, 3) for entries in (turn, move))
        return turned @ moved


class SynthesisLayer3(nn.Module):
    """A modulated convolution, then an activation at a finer sampling rate.

    key = style ⊙ x / magnitude → convolution → demodulation → bias → sample up → leaky ReLU → clamp → sample down.

    Args:
        design: The network's design.
        before, after: The signals that it reads and writes.
        colours: Whether it is the last layer, which neither demodulates nor filters.
    """

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(self, design: Design3, before: Band, after: Band, *, colours: bool):
        super().__init__()
        self.before, self.after, self.colours, self.clamp = before, after, colours, design.conv_clamp
        self.kernel = 1 if colours else design.conv_kernel
        self.affine = Linear(design.w_dim, before.channels, bias=1.0)
        self.weight = normal(after.channels, before.channels, self.kernel, self.kernel)
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        resampling = resampling_of(design, before, after, colours=colours)
        self.up, self.down = resampling.up, resampling.down
        self.register_buffer("up_filter", resampling.up_filter)
        self.register_buffer("down_filter", resampling.down_filter)
        taps = sum(design.filter_size * by if by > 1 and not colours else 1 for by in (self.up, self.down))
        self.padding = [self._padding(axis, taps) for axis in (1, 0)]

    def _padding(self, axis: int, taps: int) -> tuple[int, int]:
        """What is added before and behind along an axis, so that maps have their size after both filters."""
        read = (self.before.size[axis] + self.kernel - 1) * self.up
        total = (self.after.size[axis] - 1) * self.down + 1 - read + taps - 2
        first = (total + self.up) // 2
        return first, total - first

    def style(self, w: Tensor) -> Tensor:
        """The factor on each input channel, shape (images, inputs)."""
        return self.affine(w) * (1 / math.sqrt(self.before.channels) if self.colours else 1.0)

    def key(self, x: Tensor, style: Tensor) -> Tensor:
        """What the convolution reads."""
        return x * (style * self.magnitude_ema.rsqrt())[:, :, None, None]

    def demodulation(self, style: Tensor, weight: Tensor | None = None) -> Tensor | None:
        """The factor on each output channel, shape (images, outputs); None for colours."""
        if self.colours:
            return None
        weight = self.weight if weight is None else weight
        # NVIDIA's code brings weight and style to a mean square of one first; that cancels but for the epsilon.
        size = weight.square().mean(dim=(1, 2, 3)) * style.square().mean(dim=1, keepdim=True)
        return demodulation_of(style, weight, EPSILON * size)

    def convolve(self, key: Tensor) -> Tensor:
        """The linear map that an edit changes, before demodulation."""
        return F.conv2d(key, self.weight, padding=self.kernel - 1)

    def finish(self, written: Tensor, demodulation: Tensor | None) -> Tensor:
        """From what the convolution wrote to the layer's output."""
        if demodulation is not None:
            written = written * demodulation[:, :, None, None]
        y = sampled_up(written + self.bias[:, None, None], self.up_filter, self.up, self.padding)
        if not self.colours:
            y = F.leaky_relu_(y, LEAK) * GAIN
        if self.clamp is not None:
            y = y.clamp(-self.clamp, self.clamp)
        return sampled_down(y, self.down_filter, self.down)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.style(w)
        return self.finish(self.convolve(self.key(x, style)), self.demodulation(style))


class State3(NamedTuple):
    """What flows through the stages of one run."""

    ws: Tensor  # [images, num_ws, w_dim]
    x: Tensor | None = None  # [images, channels, height, width]

    @property
    def map(self) -> Tensor:
        """The map that the last stage wrote, which is there once one has run."""
        assert self.x is not None
        return self.x


class Synthesis3(nn.Module):
    """The input and the layers, run stage by stage."""

    def __init__(self, design: Design3):
        super().__init__()
        self.output_scale = design.output_scale
        found = bands(design)
        self.input = FourierInput(design.w_dim, found[0])
        self.stages: dict[str, int] = {"input": 0}
        for number, (before, after) in enumerate(zip([found[0], *found], found, strict=False)):
            name = f"L{number}_{after.size[1]}_{after.channels}"
            self.add_module(name, SynthesisLayer3(design, before, after, colours=number == design.num_layers))
            self.stages[name] = number + 1

    def stage(self, name: str) -> FourierInput | SynthesisLayer3:
        """A stage by its name."""
        found = self.get_submodule(name)
        assert isinstance(found, FourierInput | SynthesisLayer3)
        return found

    def advance(self, state: State3, stage: str) -> State3:
        """Run one stage."""
        layer, w = self.stage(stage), state.ws[:, self.stages[stage]]
        return state._replace(x=layer(w) if isinstance(layer, FourierInput) else layer(state.map, w))

    def run(self, state: State3, stages: Sequence[str]) -> State3:
        """Run some stages one after the other."""
        for stage in stages:
            state = self.advance(state, stage)
        return state


class StyleGAN3(nn.Module):
    """A StyleGAN3 generator: mapping and synthesis.

    Args:
        design: Its architecture.
    """

    def __init__(self, design: Design3):
        super().__init__()
        self.design, self.z_dim, self.num_ws = design, design.z_dim, design.num_layers + 2
        embedded = {"c_dim": design.c_dim, "rate": design.mapping_rate}
        self.mapping = Mapping(design.z_dim, design.w_dim, design.mapping_layers, **embedded)
        self.synthesis = Synthesis3(design)
