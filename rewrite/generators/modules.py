"""How the modules of other libraries are read as layers: their keys, their outputs, and what follows the weight."""

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from rewrite.generators.layers import Layer, grid_of


def _spatial(name: str, stage: Any, read: Tensor, **more: Any) -> Layer:
    return Layer(
        name=name,
        weight=f"{name}.weight",
        inputs=stage.in_channels,
        outputs=stage.out_channels,
        grid=grid_of(read),
        kernel=_both(stage.kernel_size, 1),
        stride=_both(stage.stride, 1),
        dilation=_both(stage.dilation, 1),
        groups=stage.groups,
        **more,
    )


def _both(sizes: tuple[int, ...], other: int) -> tuple[int, int]:
    """Numbers by height and width; a sequence is a map of one column."""
    height, width = (*sizes, other)[:2]
    return height, width


def _as_map(sequences: Tensor) -> Tensor:
    return sequences[..., None] if sequences.ndim == 3 else sequences


class Kind:
    """How one kind of module is read as a layer.

    Modules are recognised by their attributes here, and not by their class: it may be one of a repository of its own.

    Attributes:
        finishes: Whether what the module does after its weight is known, so that it can be gone on from there.
    """

    finishes = True

    @staticmethod
    def describe(name: str, stage: Any, inputs: tuple) -> Layer:
        """The layer, from what entered the module when it ran."""
        raise NotImplementedError

    @staticmethod
    def read(stage: Any, inputs: tuple) -> tuple[Tensor, Tensor | None]:
        """The map that the weight is applied to, and the modulation inside it, from what enters the module."""
        raise NotImplementedError

    @staticmethod
    def finish(stage: Any, written: Tensor, demodulation: Tensor | None) -> Tensor:
        """What the module does after its weight."""
        raise NotImplementedError

    @staticmethod
    def laid_out(output: Tensor) -> Tensor:
        """Maps of units (n, units, height, width) in the module's own order of axes."""
        return output

    @staticmethod
    def weight(weight: Tensor) -> Tensor:
        """The weight as a layer has it, from the module's own."""
        return weight


class Convolution(Kind):
    """`nn.Conv2d`, and `nn.Conv1d` with a sequence for a map of one column.

    What is padded otherwise than with zeros is read as a larger map.
    """

    @staticmethod
    def describe(name: str, stage: Any, inputs: tuple) -> Layer:
        reach = [d * (k - 1) for d, k in zip(stage.dilation, stage.kernel_size, strict=True)]
        named = {"valid": (0, 0), "same": tuple(r // 2 for r in reach)}
        before = named[stage.padding] if isinstance(stage.padding, str) else stage.padding
        extra = tuple(r % 2 for r in reach) if stage.padding == "same" else (0, 0)
        if stage.padding_mode != "zeros":
            before = extra = (0, 0)
        padding, more = _both(before, 0), _both(extra, 0)
        read, _ = Convolution.read(stage, inputs)
        return _spatial(name, stage, read, kind="convolution", padding=padding, extra_padding=more)

    @staticmethod
    def read(stage: Any, inputs: tuple) -> tuple[Tensor, Tensor | None]:
        features = inputs[0]
        if stage.padding_mode != "zeros":
            features = F.pad(features, stage._reversed_padding_repeated_twice, stage.padding_mode)
        return _as_map(features), None

    @staticmethod
    def weight(weight: Tensor) -> Tensor:
        return _as_map(weight)

    @staticmethod
    def finish(stage: Any, written: Tensor, demodulation: Tensor | None) -> Tensor:
        return written if stage.bias is None else written + stage.bias[:, None, None]


class Transposed(Convolution):
    """`nn.ConvTranspose2d` and `nn.ConvTranspose1d`."""

    @staticmethod
    def describe(name: str, stage: Any, inputs: tuple) -> Layer:
        padding = {each: _both(getattr(stage, each), 0) for each in ("padding", "output_padding")}
        return _spatial(name, stage, _as_map(inputs[0]), kind="transposed", inputs_first=True, **padding)


class Linear(Convolution):
    """`nn.Linear`: the positions of a sequence are the rows of its map."""

    @staticmethod
    def describe(name: str, stage: Any, inputs: tuple) -> Layer:
        return Layer(
            name=name,
            weight=f"{name}.weight",
            kind="linear",
            inputs=stage.in_features,
            outputs=stage.out_features,
            grid=(math.prod(inputs[0].shape[1:-1]), 1),
        )

    @staticmethod
    def read(stage: Any, inputs: tuple) -> tuple[Tensor, Tensor | None]:
        features = inputs[0]
        return features.reshape(len(features), -1, features.shape[-1]).transpose(1, 2)[..., None], None

    @staticmethod
    def laid_out(output: Tensor) -> Tensor:
        return output[..., 0].transpose(1, 2)

    @staticmethod
    def weight(weight: Tensor) -> Tensor:
        return weight


class Rosinality(Kind):
    """`ModulatedConv2d` of rosinality's port: forward(x, w) gives what is written, demodulated and blurred."""

    @staticmethod
    def fits(stage: nn.Module) -> bool:
        weight = stage._parameters.get("weight")
        return weight is not None and weight.ndim == 5 and hasattr(stage, "modulation") and hasattr(stage, "demodulate")

    @staticmethod
    def describe(name: str, stage: Any, inputs: tuple) -> Layer:
        return Layer.of_stylegan2(
            name,
            f"{name}.weight",
            stage.weight.shape[1:],
            inputs[0].shape[-2:],
            up=bool(getattr(stage, "upsample", False)),
            gain=float(stage.scale),
            modulated=bool(stage.demodulate),
        )

    @staticmethod
    def read(stage: Any, inputs: tuple) -> tuple[Tensor, Tensor | None]:
        style = stage.modulation(inputs[1]).reshape(len(inputs[0]), -1)
        return inputs[0] * style[:, :, None, None], style

    @staticmethod
    def weight(weight: Tensor) -> Tensor:
        return weight[0]

    @staticmethod
    def finish(stage: Any, written: Tensor, demodulation: Tensor | None) -> Tensor:
        if demodulation is not None:
            written = written * demodulation[:, :, None, None]
        return stage.blur(written) if getattr(stage, "upsample", False) else written


class Nvidia(Kind):
    """`SynthesisLayer` and `ToRGBLayer` of StyleGAN2-ADA: forward(x, w) gives the output after bias and activation."""

    finishes = False

    @staticmethod
    def fits(stage: nn.Module) -> bool:
        weight = stage._parameters.get("weight")
        return weight is not None and weight.ndim == 4 and hasattr(stage, "affine") and not hasattr(stage, "up_filter")

    @staticmethod
    def describe(name: str, stage: Any, inputs: tuple) -> Layer:
        return Layer.of_stylegan2(
            name,
            f"{name}.weight",
            stage.weight.shape,
            inputs[0].shape[-2:],
            up=getattr(stage, "up", 1) == 2,
            modulated=hasattr(stage, "resolution"),
        )

    @staticmethod
    def read(stage: Any, inputs: tuple) -> tuple[Tensor, Tensor | None]:
        style = stage.affine(inputs[1]) * getattr(stage, "weight_gain", 1.0)
        return inputs[0].to(style.dtype) * style[:, :, None, None], style

    @staticmethod
    def finish(stage: Any, written: Tensor, demodulation: Tensor | None) -> Tensor:
        raise NotImplementedError(
            "noise and activation of a foreign layer are its own: change its weight and run again"
        )


PLAIN = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)


def kind_of(stage: nn.Module) -> type[Kind] | None:
    """How to read a layer, or None where it cannot be edited."""
    if isinstance(stage, nn.ConvTranspose1d | nn.ConvTranspose2d):
        return Transposed
    if isinstance(stage, nn.Conv1d | nn.Conv2d):
        return Convolution
    if isinstance(stage, nn.Linear):
        return Linear
    return next((kind for kind in (Rosinality, Nvidia) if kind.fits(stage)), None)
