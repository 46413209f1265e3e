"""StyleGAN3 seen as editable layers: cut before any convolution, resumed after it."""

from collections.abc import Mapping

from torch import Tensor

from rewrite.generators.contract import Cut, Generator, Latents
from rewrite.generators.layers import Layer
from rewrite.generators.stylegan2_layers import classes_of
from rewrite.generators.stylegan3 import FourierInput, State3, StyleGAN3


class StyleGAN3Generator(Generator):
    """A StyleGAN3 network with layers by NVIDIA's names: `input`, `L0_36_512` and so on.

    Args:
        network: The network.
        truncation: Latents w are moved towards their mean by this factor (1: not at all).
        label: The class to draw, for a network of several.
    """

    together = 4

    def __init__(self, network: StyleGAN3, *, truncation: float = 1.0, label: int = 0):
        self.module, self.truncation, self.label = network.eval().requires_grad_(False), truncation, label
        self.network, self.z_dim = network, network.z_dim
        self.size = (network.design.img_resolution, network.design.img_resolution)
        self.layers: Mapping[str, Layer] = {name: self._describe(name) for name in network.synthesis.stages}

    def start(self, latents: Latents) -> State3:
        """The state before the first stage."""
        mapping = self.network.mapping
        w = mapping.w_avg.lerp(mapping(latents.z, classes_of(self.label, mapping.c_dim, latents)), self.truncation)
        return State3(w[:, None].expand(-1, self.network.num_ws, -1))

    def images(self, latents: Latents) -> Tensor:
        synthesis = self.network.synthesis
        return synthesis.run(self.start(latents), tuple(synthesis.stages)).map * synthesis.output_scale

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
        return synthesis.run(state, names[names.index(layer) + 1 :]).map * synthesis.output_scale

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
            sticks_out = (band.size - band.rate) / 2
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
        side, rate = stage.before.size, stage.before.rate
        return Layer(
            name=name,
            weight=path,
            kind="convolution",
            inputs=inputs,
            outputs=outputs,
            grid=(side, side),
            kernel=(kernel, kernel),
            padding=(kernel - 1, kernel - 1),
            overhang=(side + kernel - 1 - rate) / 2,
            modulated=not stage.colours,
            margin=(stage.after.size - stage.after.rate) / 2,
            bias=f"synthesis.{name}.bias",
        )
