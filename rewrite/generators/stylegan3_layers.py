"""StyleGAN3 seen as editable layers: cut before any convolution, resumed after it."""

from collections.abc import Mapping

from torch import Tensor

from rewrite.generators.classes import Label
from rewrite.generators.colours import check_colours, coloured
from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.latents import Latents
from rewrite.generators.layers import Layer, Margins
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
        self.size = bands(network.design)[-1].size
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
            sticks_out = self._beyond(band)
            # Its weight is a plain matrix, applied at every position.
            return Layer(
                name,
                path,
                "linear",
                wide,
                wide,
                band.size,
                gain=stage.gain,
                overhang=sticks_out,
                margin=sticks_out,
            )
        outputs, inputs, kernel, _ = stage.weight.shape
        rows, columns = stage.before.size
        return Layer(
            name=name,
            weight=path,
            kind="convolution",
            inputs=inputs,
            outputs=outputs,
            grid=(rows, columns),
            kernel=(kernel, kernel),
            padding=(kernel - 1, kernel - 1),
            overhang=self._beyond(stage.before, kernel - 1),
            modulated=not stage.colours,
            margin=self._beyond(stage.after),
            bias=f"synthesis.{name}.bias",
        )

    def _beyond(self, band: Band, more: int = 0) -> Margins:
        """By how many samples a map sticks out of the image, with some more of them on both sides together.

        Of a signal at a rate above the image's height, the image does not show all samples.
        """
        last = bands(self.network.design)[-1]
        rows, columns = (
            (size + more - band.rate * shown / last.rate) / 2 for size, shown in zip(band.size, last.size, strict=True)
        )
        return rows if rows == columns else (rows, rows, columns, columns)
