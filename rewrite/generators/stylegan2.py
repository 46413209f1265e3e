"""StyleGAN2 in plain PyTorch (Karras et al., CVPR 2020), with skip outputs, as named stages.

A modulated convolution is written as *scale the input, convolve with the shared weight, scale the
output*: the same numbers as the fused form, no grouped convolution, and the tensor that enters the
convolution is exactly the key. Parameter names and conventions are those of NVIDIA's PyTorch release.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NOISE_MODES = ("const", "seed", "random", "none")
LEAK = 0.2
GAIN = math.sqrt(2)
DEMODULATION_EPSILON = 1e-8


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU with slope 0.2, times √2."""
    return F.leaky_relu(x, LEAK) * GAIN


def deactivate(x: Tensor) -> Tensor:
    """Invert `activate`."""
    return F.leaky_relu(x, 1 / LEAK) / GAIN


class Linear(nn.Module):
    """A linear layer with equalised learning rate: the effective weight is `weight * gain`."""

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full([outputs], bias / rate))
        self.gain, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight * self.gain, self.bias * self.rate
        if self.training:
            return F.linear(x, weight, bias)
        # One product for each image: a product over the whole batch rounds differently for each batch size.
        return torch.cat([F.linear(row, weight, bias) for row in x.split(1)])


class Blur(nn.Module):
    """The fixed low-pass filter [1, 3, 3, 1] ⊗ [1, 3, 3, 1] that follows or accompanies upsampling."""

    def __init__(self, factor: float = 1.0):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        taps = taps[:, None] * taps[None, :]
        self.register_buffer("taps", taps * (factor / taps.sum()), persistent=False)

    def forward(self, x: Tensor, padding: int = 1) -> Tensor:
        channels = x.shape[1]
        taps = self.taps.to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv2d(x, taps, padding=padding, groups=channels)

    def upsample(self, x: Tensor) -> Tensor:
        """Double the side of x: zeros between the pixels, then the filter."""
        channels = x.shape[1]
        taps = self.taps.to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv_transpose2d(x, taps, stride=2, padding=1, groups=channels)


class Mapping(nn.Module):
    """z to w: the second moment of z is normalised, then linear layers with leaky ReLU."""

    def __init__(self, z_dim: int, w_dim: int, depth: int):
        super().__init__()
        self.depth = depth
        for i in range(depth):
            setattr(self, f"fc{i}", Linear(z_dim if i == 0 else w_dim, w_dim, rate=0.01))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor) -> Tensor:
        x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for i in range(self.depth):
            x = activate(getattr(self, f"fc{i}")(x))
        return x


class SynthesisLayer(nn.Module):
    """A modulated convolution with noise, bias and leaky ReLU; with `up`, it doubles the side.

    key = style ⊙ x → convolution → demodulation (→ blur) → noise → bias → activation.
    """

    def __init__(self, inputs: int, outputs: int, w_dim: int, resolution: int, *, up: bool):
        super().__init__()
        self.up, self.resolution = up, resolution
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        if up:
            self.blur = Blur(4.0)

    def key(self, x: Tensor, style: Tensor) -> Tensor:
        """What the convolution reads."""
        return x * style[:, :, None, None].to(x.dtype)

    def demodulation(self, style: Tensor) -> Tensor:
        """The factor on each output channel, shape (images, outputs)."""
        power = self.weight.square().sum(dim=(2, 3))
        return (style.square() @ power.T + DEMODULATION_EPSILON).rsqrt()

    def convolve(self, key: Tensor) -> Tensor:
        """The linear map that an edit changes, before demodulation and blur."""
        weight = self.weight.to(key.dtype)
        if self.up:
            return F.conv_transpose2d(key, weight.transpose(0, 1), stride=2)
        return F.conv2d(key, weight, padding=1)

    def finish(self, written: Tensor, demodulation: Tensor, noise: Tensor | None) -> Tensor:
        """From what the convolution wrote to the layer's output."""
        # Leaky ReLU is positively homogeneous: its factor √2 goes into the small tensors before it.
        y = written * (demodulation * GAIN)[:, :, None, None].to(written.dtype)
        if self.up:
            y = self.blur(y)
        if noise is not None:
            y = y + (noise * (self.noise_strength * GAIN)).to(y.dtype)
        return F.leaky_relu_(y + (self.bias * GAIN)[:, None, None].to(y.dtype), LEAK)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        style = self.affine(w)
        return self.finish(self.convolve(self.key(x, style)), self.demodulation(style), noise)


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to colours, without demodulation."""

    def __init__(self, inputs: int, w_dim: int, colours: int = 3):
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(colours, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(colours))
        self.gain = 1 / math.sqrt(inputs)

    def key(self, x: Tensor, style: Tensor) -> Tensor:
        """What the convolution reads."""
        return x * (style * self.gain)[:, :, None, None].to(x.dtype)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = F.conv2d(self.key(x, self.affine(w)), self.weight.to(x.dtype))
        return y + self.bias[:, None, None].to(y.dtype)


class Block(nn.Module):
    """All layers of one resolution."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, resolution: int):
        super().__init__()
        self.resolution = resolution
        if inputs == 0:
            self.const = nn.Parameter(torch.randn(outputs, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(inputs, outputs, w_dim, resolution, up=True)
            self.blur = Blur(4.0)
        self.conv1 = SynthesisLayer(outputs, outputs, w_dim, resolution, up=False)
        self.torgb = ToRGB(outputs, w_dim)


class Noise:
    """Where the noise inputs of a run come from.

    `draw` gives the noise of one layer, shape (images, 1, side, side), or None for no noise at all.
    """

    def __init__(self, mode: str = "const", seeds: tuple[int, ...] = ()):
        if mode not in NOISE_MODES:
            raise ValueError(f"noise must be one of {', '.join(NOISE_MODES)}, got {mode!r}")
        self.mode, self.seeds = mode, seeds

    def draw(self, layer: SynthesisLayer, number: int, like: Tensor) -> Tensor | None:
        side = layer.resolution
        # Drawing noise from seeds takes time; a trained layer that gives it no strength needs none.
        if self.mode == "none" or not (layer.training or layer.noise_strength):
            return None
        if self.mode == "const":
            return layer.noise_const[None, None]
        if self.mode == "random":
            return torch.randn(like.shape[0], 1, side, side, device=like.device)
        drawn = [_seeded_noise(seed, number, side) for seed in self.seeds]
        return torch.stack(drawn)[:, None].to(like.device)


def _seeded_noise(seed: int, number: int, side: int) -> Tensor:
    generator = torch.Generator().manual_seed((seed * 64 + number) % 2**63)
    return torch.randn(side, side, generator=generator)


class State(NamedTuple):
    """What flows through the stages of one run."""

    ws: Tensor  # [images, num_ws, w_dim]
    noise: Noise
    x: Tensor | None = None  # [images, channels, side, side]
    image: Tensor | None = None  # [images, 3, side, side]


class Synthesis(nn.Module):
    """The blocks from 4x4 up to the image's side, run stage by stage."""

    def __init__(self, w_dim: int, channels: dict[int, int]):
        super().__init__()
        self.resolutions = tuple(sorted(channels))
        self.stages: dict[str, int] = {}
        inputs = 0
        for i, resolution in enumerate(self.resolutions):
            self.add_module(f"b{resolution}", Block(inputs, channels[resolution], w_dim, resolution))
            if inputs:
                self.stages[f"b{resolution}.conv0"] = 2 * i - 1
            self.stages[f"b{resolution}.conv1"] = 2 * i
            self.stages[f"b{resolution}.torgb"] = 2 * i + 1
            inputs = channels[resolution]

    def start(self, ws: Tensor, noise: Noise, dtype: torch.dtype = torch.float32) -> State:
        """The state before the first stage. Features are computed in `dtype`, styles and colours in float32."""
        const = getattr(self, f"b{self.resolutions[0]}").const.to(dtype)
        return State(ws, noise, const.expand(len(ws), *const.shape))

    def advance(self, state: State, stage: str) -> State:
        """Run one stage."""
        number, layer = self.stages[stage], self.get_submodule(stage)
        w = state.ws[:, number]
        if isinstance(layer, SynthesisLayer):
            return state._replace(x=layer(state.x, w, state.noise.draw(layer, number, state.x)))
        return state._replace(image=self.add_colours(state.image, layer(state.x, w).float(), stage))

    def add_colours(self, image: Tensor | None, colours: Tensor, stage: str) -> Tensor:
        """Add the colours of one resolution to the image of the resolutions below it."""
        if image is None:
            return colours
        return colours + self.get_submodule(stage.partition(".")[0]).blur.upsample(image)

    def run(self, state: State, stages: Sequence[str]) -> State:
        """Run several stages in order."""
        for stage in stages:
            state = self.advance(state, stage)
        return state


class StyleGAN2(nn.Module):
    """A StyleGAN2 generator of any side and width."""

    def __init__(self, z_dim: int, w_dim: int, mapping_layers: int, channels: dict[int, int]):
        super().__init__()
        self.z_dim, self.w_dim = z_dim, w_dim
        self.mapping = Mapping(z_dim, w_dim, mapping_layers)
        self.synthesis = Synthesis(w_dim, channels)

    @property
    def num_ws(self) -> int:
        """How many copies of w the synthesis network reads."""
        return 2 * len(self.synthesis.resolutions)
