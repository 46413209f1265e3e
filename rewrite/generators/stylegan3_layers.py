"""StyleGAN3 seen as editable layers: cut before any convolution, resumed after it."""

from collections.abc import Mapping

from torch import Tensor

from rewrite.generators.classes import Label
from rewrite.generators.colours import check_colours, coloured
from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.latents import Latents
from rewrite.generators.layers import Layer
from rewrite.generators.stylegan3 import Band, FourierInput, State3, StyleGAN3, bands


class StyleGAN3Generator(Generator):
    """A StyleGAN3 network with layers by NVIDIA's names: `input`, `L0_36_512` and so on.

    Args:
        network: The network.
        truncation: Latents w are moved towards their mean by this factor (1: not at all).
        label: The class to draw, for a network of several, or those of seeds.
    """

    together = 4

    def __init__(self, network: StyleGAN3, *, truncation: float = 1.0, label: Label = 0):
        check_colours(network.design.img_channels)
        self.label, self.classes = label, network.design.c_dim
        self.module, self.truncation = network.eval().requires_grad_(False), truncation
        self.network, self.z_dim = network, network.z_dim
        self.size = (network.design.img_resolution, network.design.img_resolution)
        self.layers: Mapping[str, Layer] = {name: self._describe(name) for name in network.synthesis.stages}

    def start(self, latents: Latents) -> State3:
        """The state before the first stage."""
        return State3(self.styles(latents))

    def styles(self, latents: Latents) -> Tensor:
        return self.network.mapping.styles(latents, self.label, self.truncation, self.network.num_ws)

    @property
    def styles_shape(self) -> tuple[int, int]:
        return self.network.num_ws, self.network.design.w_dim

    def images(self, latents: Latents) -> Tensor:
        synthesis = self.network.synthesis
        return coloured(synthesis.run(self.start(latents), tuple(synthesis.stages)).map * synthesis.output_scale)

    def cut(self, layer: str, latents: Latents) -> Cut:
        self.layer(layer)
        synthesis = self.network.synthesis
        names = tuple(synthesis.stages)
        state = synthesis.run(self.start(latents), names[: names.index(layer)])
        stage, w = synthesis.stage(layer), state.ws[:, synthesis.stages[layer]]
        if isinstance(stage, FourierInput):
            return Cut(state, stage.key(w))
        style = stage.style(w)
        return Cut(state, stage.key(state.map, style), style)

    def onward(self, layer: str, cut: Cut, output: Tensor) -> Tensor:
        synthesis = self.network.synthesis
        names = tuple(synthesis.stages)
        state = cut.state._replace(x=output)
        return coloured(synthesis.run(state, names[names.index(layer) + 1 :]).map * synthesis.output_scale)

    def finish(self, layer: str, cut: Cut, written: Tensor, demodulation: Tensor | None) -> Tensor:
        stage = self.network.synthesis.stage(layer)
        return written if isinstance(stage, FourierInput) else stage.finish(written, demodulation)

    def demodulation(self, layer: str, style: Tensor | None, weight: Tensor | None = None) -> Tensor | None:
        stage = self.network.synthesis.stage(layer)
        if style is None or isinstance(stage, FourierInput):
            return None
        return stage.demodulation(style, weight)

    def _describe(self, name: str) -> Layer:
        stage = self.network.synthesis.stage(name)
        path = f"synthesis.{name}.weight"
        if isinstance(stage, FourierInput):
            band, wide = stage.band, stage.band.channels
            sticks_out = (band.size - self._shown(band)) / 2
            # Its weight is a plain matrix, applied at every position.
            return Layer(
                name,
                path,
                "linear",
                wide,
                wide,
                (band.size, band.size),
                gain=stage.gain,
                overhang=sticks_out,
                margin=sticks_out,
            )
        outputs, inputs, kernel, _ = stage.weight.shape
        side = stage.before.size
        return Layer(
            name=name,
            weight=path,
            kind="convolution",
            inputs=inputs,
            outputs=outputs,
            grid=(side, side),
            kernel=(kernel, kernel),
            padding=(kernel - 1, kernel - 1),
            overhang=(side + kernel - 1 - self._shown(stage.before)) / 2,
            modulated=not stage.colours,
            margin=(stage.after.size - self._shown(stage.after)) / 2,
            bias=f"synthesis.{name}.bias",
        )

    def _shown(self, band: Band) -> float:
        """How many of a signal's samples lie side by side in an image: one at a rate above its side shows not all."""
        last = bands(self.network.design)[-1]
        return band.rate * last.size / last.rate
