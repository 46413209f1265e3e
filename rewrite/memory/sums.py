"""Sums of k kᵀ over the keys of a layer, in the precision that is asked for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.linalg import get_blas_funcs
from torch import Tensor

from rewrite.generators.cut import Cut
from rewrite.generators.devices import wide
from rewrite.generators.layers import Layer
from rewrite.interrupts import held_off

# More of them hardly lower the damage: N keys of d numbers give N / (N - d) times the least possible.
KEYS_PER_DIMENSION = 20
# Keys that are summed in single precision before their sum joins the one in double precision.
BLOCK = 4096
# Adds a symmetric product to one half of a matrix.
SYRK = {getattr(torch, name): get_blas_funcs(["syrk"], dtype=getattr(np, name))[0] for name in ("float32", "float64")}


class Read(NamedTuple):
    """What sums are made of, of some images.

    Attributes:
        images: Number of images.
        keys: Patch keys, one in each row; or a map of channel keys for each image, one key in each column.
        style: The modulation of each image, where the layer has one.
    """

    images: int
    keys: Tensor
    style: Float[Tensor, "images inputs"] | None


@dataclass(frozen=True)
class Reader:
    """What reads the keys of images.

    Attributes:
        layer: The layer.
        chosen: Number of patch keys of each image, or None for the channel keys of all positions.
    """

    layer: Layer
    chosen: int | None

    def __call__(self, cut: Cut, seeds: Sequence[int]) -> Read:
        """Read some images."""
        style = cut.style if self.layer.modulated else None
        if self.chosen is None:
            return Read(len(seeds), cut.features.flatten(2), style)
        return Read(len(seeds), read_keys(self.layer, cut.features, seeds, self.chosen), style)


class Sums:
    """Sums over the keys of a layer, in float64.

    Only the lower half of the symmetric sum of k kᵀ is computed; for an upsampling layer, whose phases have no entry of
    a key in common, only the part of each phase.

    Attributes:
        images: Number of images.
        count: Number of keys.
        phases: Which entries of a whole key are summed together.
        style_power: Sum of s² over the images; empty for a layer without modulation.
    """

    def __init__(self, layer: Layer, chosen: int | None, device: torch.device, *, blocks: bool = False):
        """Begin at zero.

        Args:
            layer: The layer.
            chosen: Number of patch keys of each image, or None for the channel keys of all positions.
            device: Where the keys are. The sums are kept there too, if it knows float64.
            blocks: Whether keys are summed in blocks of float32 (see `Total`), which takes half the time.
        """
        self.device = device = wide(device)
        self.layer, self.chosen, self.images, self.count = layer, chosen, 0, 0
        self.style_power = torch.zeros(0, dtype=torch.float64, device=device)
        self.phases = [torch.arange(layer.inputs)] if chosen is None else _phases(layer)
        self._totals = [Total(len(each), device, BLOCK if blocks else 0) for each in self.phases]

    @property
    def reader(self) -> Reader:
        """What reads the keys that `add_read` adds."""
        return Reader(self.layer, self.chosen)

    def add(self, cut: Cut, seeds: Sequence[int]) -> None:
        """Add the keys of some images."""
        self.add_read(self.reader(cut, seeds))

    def add_read(self, read: Read) -> None:
        """Add what was read of some images, perhaps by another process."""
        self.images += read.images
        if read.style is not None:
            power = read.style.to(self.device).double().square().sum(dim=0)
            self.style_power = self.style_power + power if len(self.style_power) else power
        if self.chosen is None:
            for image in read.keys:
                self.count += image.shape[1]
                self._totals[0].add(image)
            return
        self.count += len(read.keys)
        for columns, total in zip(self.phases, self._totals, strict=True):
            total.add(part_of(read.keys, columns).T)

    def tensors(self) -> dict[str, Tensor]:
        """All that was summed, by name; `take` is the inverse."""
        found = {"counted": torch.tensor([self.images, self.count]), "style_power": self.style_power.cpu()}
        for number, total in enumerate(self._totals):
            found |= {f"{number}.{name}": each.cpu() for name, each in total.tensors().items()}
        return found

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what was summed before.

        Raises:
            KeyError, ValueError: These are no sums of this layer.
        """
        for number, total in enumerate(self._totals):
            start = f"{number}."
            total.take({name.removeprefix(start): each for name, each in tensors.items() if name.startswith(start)})
        self.images, self.count = map(int, tensors["counted"])
        self.style_power = tensors["style_power"].to(self.device)

    @property
    def energy(self) -> Float[Tensor, " key"]:
        """The sum of k² over all keys."""
        energy = torch.zeros(sum(map(len, self.phases)), dtype=torch.float64, device=self.device)
        for columns, total in zip(self.phases, self._totals, strict=True):
            energy[columns.to(self.device)] = total.lower().diagonal()
        return energy

    def parts(self, dtype: torch.dtype = torch.float64) -> list[Float[Tensor, "part part"]]:
        """The sum of k kᵀ over all keys, for each of `phases`."""
        lowers = (total.lower().to(dtype) for total in self._totals)
        return [lower.tril().add_(lower.tril(-1).T) for lower in lowers]

    def total(self) -> Float[Tensor, "key key"]:
        """The sum of k kᵀ over all keys, on the CPU."""
        parts = self.parts()
        if len(parts) == 1:
            return parts[0].cpu()
        size = sum(map(len, self.phases))
        whole = torch.zeros(size, size, dtype=torch.float64)
        for columns, part in zip(self.phases, parts, strict=True):
            whole[columns[:, None], columns] = part.cpu()
        return whole


class Total:
    """A sum of k kᵀ in float64.

    With blocks, the products of at most m keys are added up in the keys' own precision (float32 at least) and then
    join the sum. Of a block, each entry is off by at most m u Σ|kᵢ||kⱼ| with u = 2⁻²⁴, and so the whole sum, as an
    average over ordinary keys, by at most 2.4e-4 (Σkᵢ² Σkⱼ²)^(1/2) for m = 4096 (Higham 2002, section 3.1): a
    part of what the choice of 100,000 keys leaves to chance (3e-3).
    """

    def __init__(self, size: int, device: torch.device, block: int = 0):
        """Begin at zero.

        Args:
            size: Length of a key.
            device: Where the sum is kept.
            block: The most keys of a block; 0 for products in float64 throughout.
        """
        self._sum = torch.zeros(size, size, dtype=torch.float64, device=device)
        self._block, self._waiting = block, list[Tensor]()

    def add(self, entries: Float[Tensor, "key n"]) -> None:
        """Add some keys, one in each column."""
        if not self._block:
            _add_lower(self._sum, entries.to(self._sum.device).double())
            return
        narrow = torch.promote_types(entries.dtype, torch.float32)
        for part in entries.to(narrow).split(self._block, dim=1):
            if sum(each.shape[1] for each in self._waiting) + part.shape[1] > self._block:
                self._settle()
            self._waiting = [*(each.to(part.device) for each in self._waiting), part]

    def lower(self) -> Float[Tensor, "key key"]:
        """The sum; what stands above the diagonal means nothing."""
        self._settle()
        return self._sum

    def tensors(self) -> dict[str, Tensor]:
        """The sum and the keys that wait, as they lie in memory: the order of a sum depends on that."""
        if not self._waiting:
            return {"sum": self._sum}
        entries = _side_by_side(self._waiting)
        return {"sum": self._sum, **({"rows": entries} if by_row(entries) else {"columns": entries.T.contiguous()})}

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        if tensors["sum"].shape != self._sum.shape or tensors["sum"].dtype != self._sum.dtype:
            raise ValueError(f"a sum of shape {tuple(self._sum.shape)} is needed, got {tuple(tensors['sum'].shape)}")
        self._sum.copy_(tensors["sum"])
        waiting = [tensors["rows"]] if "rows" in tensors else [tensors["columns"].T] if "columns" in tensors else []
        if any(each.ndim != 2 or len(each) != len(self._sum) or each.shape[1] > self._block for each in waiting):
            raise ValueError("the keys that wait are those of another layer")
        self._waiting = [each.to(self._sum.device) for each in waiting]

    def _settle(self) -> None:
        """Add up the keys that wait."""
        with held_off():
            self._add_waiting()

    def _add_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            entries = _side_by_side(waiting)
            block = torch.zeros(len(entries), len(entries), dtype=entries.dtype, device=entries.device)
            _add_lower(block, entries)
            self._sum += block.to(self._sum.device)


def _side_by_side(parts: Sequence[Float[Tensor, "key _"]]) -> Float[Tensor, "key n"]:
    """Keys of several parts in one matrix, lying in memory as the first do."""
    return torch.cat(list(parts), dim=1) if by_row(parts[0]) else torch.cat([each.T for each in parts]).T


def _add_lower(total: Float[Tensor, "key key"], entries: Float[Tensor, "key n"]) -> None:
    """Add the sum of k kᵀ to a total; what stands above its diagonal means nothing."""
    if total.device.type != "cpu":
        total.addmm_(entries, entries.T)
    elif entries.numel():
        # BLAS computes one half of a symmetric product, in columns: to it, the lower half of our rows is the upper one.
        read = entries.T if by_row(entries) else entries
        SYRK[total.dtype](1, read.numpy(), 1, total.T.numpy(), by_row(entries), overwrite_c=1)


def by_row(entries: Tensor) -> bool:
    """Whether the entries of all keys stand side by side in memory, and not the keys."""
    return entries.is_contiguous()


def read_keys(layer: Layer, features: Tensor, seeds: Sequence[int], chosen: int) -> Float[Tensor, "keys key"]:
    """Some patch keys of each image, at positions drawn from its seed."""
    area = layer.output_grid[0] * layer.output_grid[1]
    drawn = [np.random.default_rng((seed, area)).choice(area, chosen, replace=False) for seed in seeds]
    return layer.keys(features, torch.from_numpy(np.stack(drawn)).to(features.device)).flatten(0, 1)


def part_of(keys: Float[Tensor, "keys key"], columns: Int[Tensor, " columns"]) -> Float[Tensor, "some columns"]:
    """The entries of one phase, of the keys that have any."""
    if len(columns) == keys.shape[1]:
        return keys
    part = keys[:, columns.to(keys.device)]
    return part[part.any(dim=1)]


def positions_per_image(layer: Layer, samples: int, keys_per_dimension: float = KEYS_PER_DIMENSION) -> int:
    """How many output positions of each image to read for patch keys."""
    height, width = layer.output_grid
    return min(height * width, max(4, math.ceil(keys_per_dimension * layer.width / samples)))


def _phases(layer: Layer) -> list[Int[Tensor, " columns"]]:
    """Which entries of a whole key are read together."""
    firsts = torch.arange(layer.groups)[:, None] * (layer.width // layer.groups)
    return [(firsts + columns).flatten() for columns in layer.phases()]
