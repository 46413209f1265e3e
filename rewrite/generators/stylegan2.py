"""StyleGAN2 in plain PyTorch (Karras et al., CVPR 2020), in all its architectures, as named stages.

Parameter names and conventions are those of NVIDIA's PyTorch release.
"""

import math
from collections import abc
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rewrite.generators.filters import Blur
from rewrite.generators.mapping import Mapping, normal
from rewrite.generators.noise import Noise
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_stages import Shortcut, Stage, SynthesisLayer, ToRGB

# Files may leave these out: a network without noise, or one whose mean latent was not kept.
OPTIONAL = ("noise_const", "noise_strength", "w_avg")


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
