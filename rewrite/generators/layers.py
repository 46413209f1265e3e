"""An editable layer: what it reads (keys), and its weight as a matrix that maps keys to values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

KINDS = ("linear", "convolution", "transposed")


# By how many cells a map extends beyond the image: on each side, or above, below, left and right.
Margins = int | float | tuple[float, float, float, float]


def beyond(margins: Margins, axis: int) -> tuple[float, float]:
    """By how many cells a map extends beyond the image before and behind it, along its rows or its columns."""
    before, behind = margins[2 * axis : 2 * axis + 2] if isinstance(margins, tuple) else (margins, margins)
    return float(before), float(behind)


class Part(NamedTuple):
    """A part of a layer's matrix whose entries depend on one another, and on no other part's.

    Attributes:
        rows: Outputs.
        own: Columns of the matrix.
        columns: The entries of the key that they stand for.
    """

    rows: slice
    own: slice | Int[Tensor, " columns"]
    columns: slice | Int[Tensor, " columns"]


def grid_of(maps: Tensor) -> tuple[int, int]:
    """Height and width of maps or images."""
    height, width = maps.shape[-2:]
    return height, width


@dataclass(frozen=True)
class Layer:
    """A linear map inside a network, described well enough to read its keys and to edit its weight.

    A transposed convolution is treated as a plain one that reads its input with zeros between the pixels,
    so that every layer is one matrix applied to one key for each output position.

    Attributes:
        name: What users call it.
        weight: Path of the edited parameter inside the network.
        kind: One of `KINDS`.
        inputs, outputs: Numbers of channels.
        grid: Height and width of the map that the layer reads.
        kernel, stride, padding, output_padding, dilation: As torch's convolutions have them, by height and width.
        extra_padding: How many more zeros a convolution reads below and on the right than above and on the left (an
            even kernel under torch's `padding="same"`).
        inputs_first: Whether the stored weight of a transposed convolution is (inputs, outputs, …), as in
            `nn.ConvTranspose2d`, and not (outputs, inputs, …), as in StyleGAN2.
        gain: The effective weight is the stored one times this factor.
        overhang: By how many cells the written map extends beyond the image (one half on each side for StyleGAN2's
            upsampling layers, whose output is blurred afterwards).
        modulated: Whether the output is demodulated by a factor that depends on the weight (StyleGAN2).
        margin: By how many cells the finished output extends beyond the image (StyleGAN3).
        bias: Path of the parameter that is added to each unit, or None where there is none.
        bias_after: None where the layer's output includes the bias; where the bias comes after it (ProgressiveGAN), the
            factor on the output before the bias is added.
    """

    name: str
    weight: str
    kind: str
    inputs: int
    outputs: int
    grid: tuple[int, int]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    output_padding: tuple[int, int] = (0, 0)
    extra_padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    inputs_first: bool = False
    gain: float = 1.0
    overhang: Margins = 0.0
    modulated: bool = False
    margin: Margins = 0.0
    bias: str | None = None
    bias_after: float | None = None

    @classmethod
    def of_stylegan2(
        cls, name: str, weight: str, shape: Sequence[int], grid: Sequence[int], *, up: bool, **more: Any
    ) -> "Layer":
        """A convolution of StyleGAN2; with `up`, one that doubles the side and is blurred afterwards.

        Args:
            name: What users call it.
            weight: Path of its parameter.
            shape: Outputs, inputs, height and width of the kernel.
            grid: Height and width of the map that it reads.
            up: Whether it doubles the side.
            more: Further attributes.
        """
        outputs, inputs, height, width = shape
        return cls(
            name=name,
            weight=weight,
            kind="transposed" if up else "convolution",
            inputs=inputs,
            outputs=outputs,
            grid=(grid[0], grid[1]),
            kernel=(height, width),
            stride=(2, 2) if up else (1, 1),
            padding=(0, 0) if up else (height // 2, width // 2),
            overhang=0.5 if up else 0.0,
            **more,
        )

    @property
    def taps(self) -> int:
        """How many positions of its input the layer reads for one output position."""
        return self.kernel[0] * self.kernel[1]

    @property
    def width(self) -> int:
        """Length of a patch key: all channels at all taps."""
        return self.inputs * self.taps

    @property
    def output_grid(self) -> tuple[int, int]:
        """Height and width of the map that the layer writes."""
        height, width = (self._outputs(axis) for axis in (0, 1))
        return height, width

    def phases(self) -> list[Int[Tensor, " columns"]]:
        """Which entries of a group's keys are read together.

        An upsampling layer reads its map with zeros between the pixels, so that keys of different phases have no tap
        in common; any other layer has one phase, which holds all entries.
        """
        step = self.stride if self.kind == "transposed" else (1, 1)
        taps = torch.arange(self.width // self.groups) % self.taps
        rows, columns = taps // self.kernel[1] * self.dilation[0], taps % self.kernel[1] * self.dilation[1]
        number = rows % step[0] * step[1] + columns % step[1]
        return [torch.nonzero(number == phase)[:, 0] for phase in number.unique().tolist()]

    def blocks(self) -> list[tuple[slice, slice]]:
        """The rows of the matrix and the entries of the key that belong together, one pair for each group."""
        rows, columns = self.outputs // self.groups, self.width // self.groups
        return [(slice(g * rows, (g + 1) * rows), slice(g * columns, (g + 1) * columns)) for g in range(self.groups)]

    def parts(self) -> list[Part]:
        """One part for each phase of each group: no key has entries of two phases."""
        phases = self.phases()
        if len(phases) == 1:
            return [Part(rows, slice(None), columns) for rows, columns in self.blocks()]
        return [Part(rows, own, columns.start + own) for rows, columns in self.blocks() for own in phases]

    def values(
        self, keys: Float[Tensor, "n key"], matrix: Float[Tensor, "outputs group_width"]
    ) -> Float[Tensor, "n outputs"]:
        """What a matrix writes for some keys."""
        return torch.cat([keys[:, columns] @ matrix[rows].T for rows, columns in self.blocks()], dim=1)

    def matrix(self, weight: Tensor) -> Float[Tensor, "outputs group_width"]:
        """The effective weight as a matrix over patch keys (ordered channel, row, column)."""
        if self.inputs_first:
            weight = self._exchanged(weight)
        if self.kind == "transposed":
            weight = weight.flip(2, 3)
        return weight.reshape(self.outputs, -1) * self.gain

    def weight_from(self, matrix: Float[Tensor, "outputs group_width"]) -> Tensor:
        """The stored weight whose `matrix` is this one. Linear, so it serves differences of weights as well."""
        matrix = matrix / self.gain
        if self.kind == "linear":
            return matrix
        weight = matrix.reshape(self.outputs, self.inputs // self.groups, *self.kernel)
        if self.kind == "transposed":
            weight = weight.flip(2, 3)
        return self._exchanged(weight) if self.inputs_first else weight

    def keys(
        self,
        features: Float[Tensor, "images inputs height width"],
        positions: Int[Tensor, "images chosen"] | None = None,
    ) -> Float[Tensor, "images positions key"]:
        """What each output position reads, with the layer's own padding.

        Args:
            features: The map that enters the layer.
            positions: Which output positions (row-major) to read in each image; all of them if left out.
        """
        if positions is None:
            step = (1, 1) if self.kind == "transposed" else self.stride
            unfolded = F.unfold(self._padded(features), self.kernel, dilation=self.dilation, stride=step)
            return unfolded.transpose(1, 2)
        height, width = features.shape[2:]
        rows, above = self._read_at(positions // self.output_grid[1], 0, height)
        columns, beside = self._read_at(positions % self.output_grid[1], 1, width)
        inside = (above[..., :, None] & beside[..., None, :]).flatten(1)
        places = (rows[..., :, None] * width + columns[..., None, :]).flatten(1).where(inside, 0)
        taken = features.flatten(2).gather(2, places[:, None].expand(-1, self.inputs, -1))
        taken = taken.masked_fill(~inside[:, None], 0)
        return taken.unflatten(2, (-1, self.taps)).transpose(1, 2).flatten(2)

    def apply(self, features: Float[Tensor, "images inputs height width"], weight: Tensor) -> Tensor:
        """Run the layer's linear map (no bias) with a given stored weight."""
        weight = weight * self.gain
        if self.kind == "linear":
            return torch.einsum("oi,nihw->nohw", weight, features)
        if self.kind == "transposed":
            weight = weight if self.inputs_first else self._exchanged(weight)
            return F.conv_transpose2d(
                features, weight, None, self.stride, self.padding, self.output_padding, self.groups, self.dilation
            )
        if any(self.extra_padding):
            features = F.pad(features, (0, self.extra_padding[1], 0, self.extra_padding[0]))
        return F.conv2d(features, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def _exchanged(self, weight: Tensor) -> Tensor:
        """Exchange inputs and outputs within each group."""
        return weight.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1)

    def _read_at(self, written: Tensor, axis: int, side: int) -> tuple[Tensor, Tensor]:
        """Which rows (or columns) of its map the layer reads at each tap for what it writes, and whether they exist."""
        taps, step = torch.arange(self.kernel[axis], device=written.device) * self.dilation[axis], self.stride[axis]
        if self.kind != "transposed":
            places = written[..., None] * step + taps - self.padding[axis]
            return places, (places >= 0) & (places < side)
        spread = written[..., None] + taps + self.padding[axis] - self.dilation[axis] * (self.kernel[axis] - 1)
        places = spread // step
        return places, (places >= 0) & (places < side) & (spread % step == 0)

    def _outputs(self, axis: int) -> int:
        side, reach = self.grid[axis], self.dilation[axis] * (self.kernel[axis] - 1)
        if self.kind == "transposed":
            return (side - 1) * self.stride[axis] - 2 * self.padding[axis] + reach + self.output_padding[axis] + 1
        return (side + 2 * self.padding[axis] + self.extra_padding[axis] - reach - 1) // self.stride[axis] + 1

    def _padded(self, features: Tensor) -> Tensor:
        if self.kind != "transposed":
            (above, beside), (below, beyond) = self.padding, self.extra_padding
            return F.pad(features, (beside, beside + beyond, above, above + below))
        images, channels, height, width = features.shape
        spread = features.new_zeros(
            images, channels, (height - 1) * self.stride[0] + 1, (width - 1) * self.stride[1] + 1
        )
        spread[:, :, :: self.stride[0], :: self.stride[1]] = features
        before = [self.dilation[axis] * (self.kernel[axis] - 1) - self.padding[axis] for axis in (0, 1)]
        after = [before[axis] + self.output_padding[axis] for axis in (0, 1)]
        return F.pad(spread, (before[1], after[1], before[0], after[0]))
