"""StyleGAN2 seen as editable layers: cut before any convolution, resumed after it."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from rewrite.generators.classes import Label
from rewrite.generators.colours import check_colours, coloured
from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.latents import Latents
from rewrite.generators.layers import Layer
from rewrite.generators.mapping import activate
from rewrite.generators.noise import Noise, NoiseWindow
from rewrite.generators.outputs import keeping_outputs
from rewrite.generators.stylegan2 import State, StyleGAN2
from rewrite.generators.stylegan2_stages import Shortcut, SynthesisLayer, ToRGB


class StyleGAN2Generator(Generator):
    """A StyleGAN2 network with named layers: `b4.conv1`, `b4.torgb`, `b8.conv0`, in residual blocks `b8.skip`.

    Args:
        network: The network.
        truncation: Latents w are moved towards their mean by this factor (1: not at all).
        noise: `seed` draws each image's noise from its seed, `const` uses the noise stored in the network,
            `none` uses none.
        label: The class to draw, for a network of several, or those of seeds.
    """

    together = 4

    def __init__(self, network: StyleGAN2, *, truncation: float = 1.0, noise: str = "seed", label: Label = 0):
        Noise(noise)
        check_colours(network.design.colours)
        self.label, self.classes = label, network.design.c_dim
        self.module, self.truncation, self.noise = network.eval().requires_grad_(False), truncation, noise
        self.network = network
        self.z_dim = network.z_dim
        self.size = network.design.size(network.synthesis.resolutions[-1])
        self.layers: Mapping[str, Layer] = {name: self._describe(name) for name in network.synthesis.stages}
        self._stages, self._sketches = tuple(network.synthesis.stages), dict[str, StyleGAN2Generator]()

    def start(self, latents: Latents) -> State:
        """The state before the first stage."""
        ws = self.styles(latents)
        return self.network.synthesis.start(ws, Noise(self.noise, latents.seeds), ws.dtype)

    def styles(self, latents: Latents) -> Tensor:
        return self.network.mapping.styles(latents, self.label, self.truncation, self.network.num_ws)

    @property
    def styles_shape(self) -> tuple[int, int]:
        return self.network.num_ws, self.network.design.w_dim

    def images(self, latents: Latents) -> Tensor:
        synthesis = self.network.synthesis
        return coloured(synthesis.run(self.start(latents), self._stages).drawn)

    def cut(self, layer: str, latents: Latents) -> Cut:
        self.layer(layer)
        synthesis = self.network.synthesis
        state = synthesis.run(self.start(latents), self._stages[: self._stages.index(layer)])
        stage = synthesis.stage(layer)
        if isinstance(stage, Shortcut):
            return Cut(state, state.x)
        style = stage.affine(state.ws[:, synthesis.stages[layer]])
        return Cut(state, stage.key(state.x, style), style)

    def outputs(self, layers: Sequence[str], latents: Latents) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        """As of any generator, in one run."""
        synthesis, names = self.network.synthesis, self._stages
        end = 1 + max(names.index(self.layer(layer).name) for layer in layers)
        with keeping_outputs(synthesis, layers) as found:
            state = synthesis.run(self.start(latents), names[:end])
        return found, lambda: coloured(synthesis.run(state, names[end:]).drawn)

    def onward(self, layer: str, cut: Cut, output: Tensor) -> Tensor:
        synthesis = self.network.synthesis
        state = synthesis.store(cut.state, layer, output)
        return coloured(synthesis.run(state, self._stages[self._stages.index(layer) + 1 :]).drawn)

    def sketch(self, layer: str, side: int) -> "StyleGAN2Generator":
        """As of any generator: ends with the colours of a lower side, where every side adds some (`skip`)."""
        self.layer(layer)
        if self.network.design.architecture != "skip":
            return self
        stages, synthesis = self._stages, self.network.synthesis
        behind = (name for name in stages[stages.index(layer) :] if name.endswith("torgb"))
        last = next((name for name in behind if min(synthesis.block(name).size) >= side), stages[-1])
        if last == stages[-1]:
            return self
        if last not in self._sketches:
            found = self._sketches[last] = copy.copy(self)
            found.size, found._sketches = synthesis.block(last).size, {}
            found._stages = stages[: stages.index(last) + 1]
        found = self._sketches[last]
        found.truncation, found.noise, found.label = self.truncation, self.noise, self.label
        return found

    def finish(self, layer: str, cut: Cut, written: Tensor, demodulation: Tensor | None) -> Tensor:
        synthesis = self.network.synthesis
        stage = synthesis.stage(layer)
        if not isinstance(stage, SynthesisLayer):
            return stage.finish(written)
        assert demodulation is not None
        noise = cut.state.noise.draw(stage, synthesis.stages[layer], written)
        return stage.finish(written, demodulation, noise)

    def window(self, layer: str, cut: Cut, rows: slice, columns: slice) -> Cut | None:
        stage = self.network.synthesis.stage(layer)
        if not isinstance(stage, SynthesisLayer) or stage.up:
            return None
        state: State = cut.state
        half = (slice(each.start // 2, each.stop // 2) for each in (rows, columns))
        window = state._replace(
            x=state.x[..., rows, columns],
            added=None if state.added is None else state.added[..., rows, columns],
            image=None if state.image is None else state.image[..., *half],
            noise=NoiseWindow(state.noise, stage.size[0], rows, columns),
        )
        return Cut(window, cut.features[..., rows, columns], cut.style)

    def offset(self, layer: str, cut: Cut) -> Tensor:
        synthesis = self.network.synthesis
        stage = synthesis.stage(layer)
        if isinstance(stage, Shortcut) or (isinstance(stage, SynthesisLayer) and stage.up):
            return super().offset(layer, cut)
        bias = stage.bias[None, :, None, None]
        if isinstance(stage, ToRGB):
            return bias
        noise = cut.state.noise.draw(stage, synthesis.stages[layer], cut.features)
        return bias if noise is None else bias + noise * stage.noise_strength

    def activation(self, layer: str) -> Callable[[Tensor], Tensor]:
        stage = self.network.synthesis.stage(layer)
        if isinstance(stage, Shortcut) or (isinstance(stage, SynthesisLayer) and stage.up):
            return super().activation(layer)
        limit = math.inf if stage.clamp is None else stage.clamp
        if isinstance(stage, ToRGB):
            return lambda x: x.clamp(-limit, limit)
        return lambda x: (activate(x)).clamp(-limit, limit) * stage.scale

    def _describe(self, name: str) -> Layer:
        stage = self.network.synthesis.stage(name)
        height, width = self.network.synthesis.block(name).size
        full = isinstance(stage, SynthesisLayer)
        up = full and stage.up
        step = 2 if up or isinstance(stage, Shortcut) else 1
        # The factor of colours is in their keys already.
        gain = 1.0 if isinstance(stage, ToRGB) else stage.gain
        return Layer.of_stylegan2(
            name,
            f"synthesis.{name}.weight",
            stage.weight.shape,
            (height // step, width // step),
            up=up,
            gain=gain,
            modulated=full,
            bias=None if isinstance(stage, Shortcut) else f"synthesis.{name}.bias",
        )
