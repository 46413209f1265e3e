"""StyleGAN2 in plain PyTorch (Karras et al., CVPR 2020), in all its architectures, as named stages.

A modulated convolution is written as *scale the input, convolve with the shared weight, scale the
output*: the same numbers as the fused form, no grouped convolution, and the tensor that enters the
convolution is exactly the key. Parameter names and conventions are those of NVIDIA's PyTorch release.
"""

import math
from collections import abc
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewrite.generators.demodulation import demodulation_of
from rewrite.generators.filters import Blur
from rewrite.generators.mapping import GAIN, LEAK, Linear, Mapping, normal
from rewrite.storage.quoting import quoted

ARCHITECTURES, NOISE_MODES = ("skip", "resnet", "orig"), ("const", "seed", "random", "none")
LARGEST_SIDE, MOST_LAYERS = 4096, 32
# Files may leave these out: a network without noise, or one whose mean latent was not kept.
OPTIONAL = ("noise_const", "noise_strength", "w_avg")


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


@dataclass(frozen=True)
class Design:
    """The architecture of a StyleGAN2.

    Attributes:
        z_dim, w_dim: Lengths of z and w.
        mapping_layers: Number of linear layers from z to w.
        channels: Number of channels at each side; the sides double from 4.
        architecture: `skip` adds colours at every side, `orig` and `resnet` draw them at the last alone.
        colours: Number of channels of an image.
        c_dim: Number of classes; 0 for none.
        embed_dim: Length of a class's embedding; w_dim if left out.
        mapping_rate: Learning-rate multiplier of the mapping.
        clamp: Limit of what a layer writes; None for none.
        first_height, first_width: Height and width of the first map, 4 and 4 for square images.
        conv_gain: Whether stored weights of convolutions are scaled by 1/√fan-in, as in rosinality's files.
    """

    z_dim: int
    w_dim: int
    mapping_layers: int
    channels: abc.Mapping[int, int]
    architecture: str = "skip"
    colours: int = 3
    c_dim: int = 0
    embed_dim: int | None = None
    mapping_rate: float = 0.01
    clamp: float | None = None
    first_height: int = 4
    first_width: int = 4
    conv_gain: bool = False

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"the architecture is one of {', '.join(ARCHITECTURES)}, got {self.architecture!r}")
        sides = sorted(self.channels)
        if not sides or sides[0] != 4 or any(b != 2 * a for a, b in pairwise(sides)) or sides[-1] > LARGEST_SIDE:
            raise ValueError(f"sides double from 4, to at most {LARGEST_SIDE}, got {quoted(sides)}")
        if not 1 <= self.mapping_layers <= MOST_LAYERS:
            raise ValueError(f"a mapping has 1 to {MOST_LAYERS} layers, got {self.mapping_layers}")
        if min(self.z_dim, self.w_dim, self.colours, *self.channels.values()) < 1:
            raise ValueError("a number of channels is at least 1, got 0")
        if not 1 <= min(self.first_height, self.first_width) <= max(self.first_height, self.first_width) <= 64:
            raise ValueError(f"the first map has 1 to 64 rows and columns, got {self.first_height}, {self.first_width}")

    def size(self, resolution: int) -> tuple[int, int]:
        """Height and width of the maps of a resolution: of one with this name, where images are no squares."""
        return resolution * self.first_height // 4, resolution * self.first_width // 4


class Block(nn.Module):
    """All layers of one resolution."""

    def __init__(self, design: Design, resolution: int):
        super().__init__()
        self.resolution, self.size = resolution, design.size(resolution)
        inputs, outputs = design.channels.get(resolution // 2, 0), design.channels[resolution]
        residual = bool(inputs) and design.architecture == "resnet"

        def layer(inputs: int, **how: Any) -> SynthesisLayer:
            gain = 1 / math.sqrt(inputs * 9) if design.conv_gain else 1.0
            return SynthesisLayer(inputs, outputs, design.w_dim, self.size, gain=gain, clamp=design.clamp, **how)

        if not inputs:
            self.const = normal(outputs, *self.size)
        else:
            if residual:
                self.skip = Shortcut(inputs, outputs)
            self.conv0 = layer(inputs, up=True)
            self.blur = Blur(4.0)
        self.conv1 = layer(outputs, up=False, scale=math.sqrt(0.5) if residual else 1.0)
        if design.architecture == "skip" or resolution == max(design.channels):
            self.torgb = ToRGB(outputs, design.w_dim, design.colours, design.clamp)


class Noise:
    """Where the noise inputs of a run come from.

    `draw` gives the noise of one layer, shape (images, 1, height, width), or None for no noise at all.
    """

    def __init__(self, mode: str = "const", seeds: tuple[int, ...] = ()):
        if mode not in NOISE_MODES:
            raise ValueError(f"noise must be one of {', '.join(NOISE_MODES)}, got {mode!r}")
        self.mode, self.seeds = mode, seeds

    def draw(self, layer: SynthesisLayer, number: int, like: Tensor) -> Tensor | None:
        # Drawing noise from seeds takes time; a trained layer that gives it no strength needs none.
        if self.mode == "none" or not (layer.training or layer.noise_strength):
            return None
        if self.mode == "const":
            return layer.noise_const[None, None]
        if self.mode == "random":
            return torch.randn(like.shape[0], 1, *layer.size, device=like.device)
        drawn = [_seeded_noise(seed, number, layer.size) for seed in self.seeds]
        return torch.stack(drawn)[:, None].to(like.device)


class NoiseWindow(Noise):
    """The noise of a window of every map.

    Args:
        whole: The noise of whole maps.
        height: Height of the maps that `rows` and `columns` are counted in; those of later layers are larger.
        rows, columns: The window.
    """

    def __init__(self, whole: Noise, height: int, rows: slice, columns: slice):
        super().__init__(whole.mode, whole.seeds)
        self.height, self.rows, self.columns = height, rows, columns

    def draw(self, layer: SynthesisLayer, number: int, like: Tensor) -> Tensor | None:
        drawn, times = super().draw(layer, number, like), layer.size[0] // self.height
        if drawn is None:
            return None
        rows, columns = (slice(each.start * times, each.stop * times) for each in (self.rows, self.columns))
        return drawn[..., rows, columns]


def _seeded_noise(seed: int, number: int, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed((seed * 64 + number) % 2**63)
    return torch.randn(*size, generator=generator)


class State(NamedTuple):
    """What flows through the stages of one run."""

    ws: Tensor  # [images, num_ws, w_dim]
    noise: Noise
    x: Tensor  # [images, channels, side, side]
    added: Tensor | None = None  # what a residual block adds to its output, likewise
    image: Tensor | None = None  # [images, 3, side, side]

    @property
    def drawn(self) -> Tensor:
        """The image, which is there once all stages have run."""
        assert self.image is not None
        return self.image


class Synthesis(nn.Module):
    """The blocks from 4x4 up to the image's side, run stage by stage."""

    def __init__(self, design: Design):
        super().__init__()
        self.resolutions = tuple(sorted(design.channels))
        self.stages: dict[str, int] = {}
        for i, resolution in enumerate(self.resolutions):
            block = Block(design, resolution)
            self.add_module(f"b{resolution}", block)
            for name, number in (("skip", 2 * i - 1), ("conv0", 2 * i - 1), ("conv1", 2 * i), ("torgb", 2 * i + 1)):
                if hasattr(block, name):
                    self.stages[f"b{resolution}.{name}"] = number

    def stage(self, name: str) -> Stage:
        """A stage by its name."""
        found = self.get_submodule(name)
        assert isinstance(found, Stage)
        return found

    def block(self, stage: str) -> Block:
        """The block of a stage."""
        found = self.get_submodule(stage.partition(".")[0])
        assert isinstance(found, Block)
        return found

    def start(self, ws: Tensor, noise: Noise, dtype: torch.dtype = torch.float32) -> State:
        """The state before the first stage. Features are computed in `dtype`, styles and colours in that of `ws`."""
        const = getattr(self, f"b{self.resolutions[0]}").const.to(dtype)
        return State(ws, noise, const.expand(len(ws), *const.shape))

    def advance(self, state: State, stage: str) -> State:
        """Run one stage."""
        number, layer = self.stages[stage], self.stage(stage)
        if isinstance(layer, Shortcut):
            return self.store(state, stage, layer(state.x))
        w = state.ws[:, number]
        if isinstance(layer, ToRGB):
            return self.store(state, stage, layer(state.x, w).to(w.dtype))
        return self.store(state, stage, layer(state.x, w, state.noise.draw(layer, number, state.x)))

    def store(self, state: State, stage: str, output: Tensor) -> State:
        """Put the output of a stage where the next ones look for it."""
        layer = self.stage(stage)
        if isinstance(layer, Shortcut):
            return state._replace(added=output)
        if isinstance(layer, ToRGB):
            return state._replace(image=self.add_colours(state.image, output, stage))
        if state.added is not None and not layer.up:
            return state._replace(x=state.added + output, added=None)
        return state._replace(x=output)

    def add_colours(self, image: Tensor | None, colours: Tensor, stage: str) -> Tensor:
        """Add the colours of one resolution to the image of the resolutions below it."""
        if image is None:
            return colours
        return colours + self.block(stage).blur.upsample(image)

    def run(self, state: State, stages: abc.Sequence[str]) -> State:
        """Run several stages in order."""
        for stage in stages:
            state = self.advance(state, stage)
        return state


class StyleGAN2(nn.Module):
    """A StyleGAN2 generator of any side and width."""

    def __init__(self, design: Design):
        super().__init__()
        self.design, self.z_dim, self.w_dim = design, design.z_dim, design.w_dim
        self.mapping = Mapping(
            design.z_dim,
            design.w_dim,
            design.mapping_layers,
            c_dim=design.c_dim,
            embed_dim=design.embed_dim,
            rate=design.mapping_rate,
        )
        self.synthesis = Synthesis(design)

    @property
    def num_ws(self) -> int:
        """How many copies of w the synthesis network reads."""
        return 2 * len(self.synthesis.resolutions)
