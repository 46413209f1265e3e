"""How good a memory is: by how much more images would move the damage that it forecasts.

The least change that gives a key k something new is along x = (C + D)⁻¹k, with the ridge D that every solver has, and
does the damage xᵀCx / (kᵀx)². A memory of n images finds a direction that looks better on them than it is: it says
(1 - γ) times the true minimum while the direction does 1 / (1 - γ) times as much, where γ is the number of dimensions
that the ridge leaves free over the number of independent keys (N / (N - d) without a ridge). Keys of one image depend
on one another, so that the independent ones cannot be counted; but each half of the images is asked for its directions,
and the other half for what they do, which has γ twice as large on either side.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer
from rewrite.memory.sums import Read, Reader, Sums, part_of, read_keys

# More images would move the forecast by less than this share of it.
WITHIN = 0.1
MOST_STEPS, TOLERANCE = 60, 3e-3
# As many marked images of a rule are pretended.
POOL = 4


@dataclass(frozen=True)
class Accuracy:
    """How far the damage that a memory forecasts may be off.

    Attributes:
        images: Number of images read.
        bias: By what share the forecast is below that of ten times as many images, because directions look better on
            the images that they are chosen by (nine tenths of γ above).
        noise: Standard error of the forecast by the choice of the images, as a share of it.
    """

    images: int
    bias: float
    noise: float

    def __str__(self) -> str:
        return f"forecast within {self.off:.0%}"

    @property
    def off(self) -> float:
        """How far the forecast may be off, as a share of it."""
        return math.hypot(self.bias, self.noise)

    @property
    def enough(self) -> bool:
        """Whether more images would hardly move the forecast."""
        return self.off <= WITHIN

    @property
    def needed(self) -> int:
        """How many images should be enough: the bias falls with their number, the noise with its root."""
        # With s = needed / images: (bias / s)² + noise² / s = WITHIN².
        within, bias, noise = WITHIN**2, self.bias**2, self.noise**2
        return math.ceil(self.images * (noise + math.sqrt(noise**2 + 4 * within * bias)) / (2 * within))

    @property
    def why(self) -> str:
        """Why no more images were read."""
        if self.enough:
            return f"more images would move the forecast by less than {WITHIN:.0%}"
        return "the most images that are read were read"


class Halves:
    """The keys of even and of odd seeds summed apart: what each half says of the other is how good both are.

    Attributes:
        halves: The sums of both.
    """

    # So many images give the keys that the halves are asked for.
    PROBES = 12
    # Patch keys of one image, as the length of a key over this: after 115 images there is one for each dimension. More
    # of an image say little that is new.
    DIMENSIONS_PER_KEY, LEAST_KEYS = 115, 16

    def __init__(self, layer: Layer, key_space: str, device: torch.device):
        """Begin without images.

        Args:
            layer: The layer.
            key_space: `patch` or `channel`.
            device: Where the keys are.
        """
        few = max(self.LEAST_KEYS, math.ceil(layer.width / self.DIMENSIONS_PER_KEY))
        area = layer.output_grid[0] * layer.output_grid[1]
        chosen = min(area, few) if key_space == "patch" else None
        self.halves = [Sums(layer, chosen, device, blocks=True) for _ in range(2)]
        self._probes: list[Tensor] = []

    def ask(self, cut: Cut, seeds: Sequence[int]) -> None:
        """Take a key of each of some images, which the halves are asked for; they are in neither half."""
        sums = self.halves[0]
        self._probes.append(_asked(sums.layer, cut.features, seeds, patches=sums.chosen is not None))

    @property
    def reader(self) -> "HalvesReader":
        """What reads the keys that `add_read` adds."""
        return HalvesReader(self.halves[0].reader)

    def add(self, cut: Cut, seeds: Sequence[int]) -> None:
        """Add the keys of some images to the halves."""
        self.add_read(self.reader(cut, seeds))

    def add_read(self, read: Sequence[Read | None]) -> None:
        """Add what was read of some images, perhaps by another process."""
        for sums, mine in zip(self.halves, read, strict=True):
            if mine is not None:
                sums.add_read(mine)

    def tensors(self) -> dict[str, Tensor]:
        """All that was summed, by name; `take` is the inverse."""
        return {f"half{i}.{name}": each for i, sums in enumerate(self.halves) for name, each in sums.tensors().items()}

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what was summed before.

        Raises:
            KeyError, ValueError: These are no sums of this layer.
        """
        for i, sums in enumerate(self.halves):
            start = f"half{i}."
            sums.take({name.removeprefix(start): each for name, each in tensors.items() if name.startswith(start)})

    @property
    def count(self) -> int:
        """Number of keys."""
        return sum(sums.count for sums in self.halves)

    @property
    def style_power(self) -> Float[Tensor, " inputs"]:
        """Sum of s² over the images; empty for a layer without modulation."""
        known = [sums.style_power for sums in self.halves if len(sums.style_power)]
        return torch.stack(known).sum(dim=0) if known else self.halves[0].style_power

    def total(self) -> Float[Tensor, "key key"]:
        """The sum of k kᵀ over all keys, on the CPU."""
        first, second = (sums.total() for sums in self.halves)
        return first + second

    def accuracy(self) -> Accuracy:
        """How good the memory of both halves is."""
        ridge, probes, parts = self._ridge(), torch.cat(self._probes), []
        halves = [sums.parts(torch.float32) for sums in self.halves]
        for columns, *moments in zip(self.halves[0].phases, *halves, strict=True):
            scale = ridge[columns.to(ridge.device)].rsqrt().float()
            keys = part_of(probes, columns).to(scale) * scale
            first, second = (
                _Scaled(moment, scale, sums.count) for moment, sums in zip(moments, self.halves, strict=True)
            )
            parts.append(torch.cat([_compared(first, second, keys), _compared(second, first, keys)]))
        return _concluded(sum(sums.images for sums in self.halves), torch.cat(parts, dim=1).clamp(min=1e-30))

    def _ridge(self) -> Float[Tensor, " key"]:
        """What a change in each entry costs beside its damage, as solvers have it by default."""
        taps = self.halves[0].layer.taps if self.halves[0].chosen else 1
        if len(self.style_power):
            power = self.style_power / sum(sums.images for sums in self.halves)
        else:
            energy = torch.stack([sums.energy for sums in self.halves]).sum(dim=0)
            power = energy.reshape(-1, taps).mean(dim=1) / self.count
        return power.clamp(min=1e-12 * power.max().clamp(min=1e-30)).repeat_interleave(taps)


@dataclass(frozen=True)
class HalvesReader:
    """What reads the keys of images for either half."""

    reader: Reader

    def __call__(self, cut: Cut, seeds: Sequence[int]) -> list[Read | None]:
        """Read some images: those of even seeds, and those of odd ones."""
        found: list[Read | None] = []
        for parity in range(2):
            mine = [i for i, seed in enumerate(seeds) if seed % 2 == parity]
            style = None if cut.style is None else cut.style[mine]
            some = Cut(None, cut.features[mine], style)
            found.append(self.reader(some, [seeds[i] for i in mine]) if mine else None)
        return found


def _asked(layer: Layer, features: Tensor, seeds: Sequence[int], *, patches: bool) -> Float[Tensor, "keys key"]:
    """A key of each image, and of each phase of a layer; those that are zero say nothing."""
    if patches:
        area = layer.output_grid[0] * layer.output_grid[1]
        keys = read_keys(layer, features, seeds, min(area, len(layer.phases())))
    else:
        area = features.shape[2] * features.shape[3]
        places = [np.random.default_rng((seed, area)).integers(area) for seed in seeds]
        keys = features.flatten(2)[torch.arange(len(seeds)), :, torch.tensor(places)]
    return keys[keys.any(dim=1)]


class _Scaled(NamedTuple):
    """A second moment in units in which the ridge is 1 in every direction; nothing of its size is written for that.

    Attributes:
        total: The sum of k kᵀ over all keys.
        scale: The unit of each entry.
        keys: Number of keys.
    """

    total: Float[Tensor, "part part"]
    scale: Float[Tensor, " part"]
    keys: int

    def of(self, rows: Float[Tensor, "n part"]) -> Float[Tensor, "n part"]:
        """C x for each row."""
        return (rows * self.scale) @ self.total * (self.scale / self.keys)

    def damage(self, rows: Float[Tensor, "n part"]) -> Float[Tensor, " n"]:
        """xᵀCx for each row."""
        return (self.of(rows) * rows).sum(dim=1)

    def directions(self, keys: Float[Tensor, "n part"]) -> Float[Tensor, "n part"]:
        """(C + I)⁻¹k, as long as it writes 1 for k: for few keys conjugate gradients are faster than a factor."""
        found, rest = torch.zeros_like(keys), keys
        step, left = rest, rest.square().sum(dim=1)
        for _ in range(MOST_STEPS):
            image = self.of(step) + step
            size = (left / (step * image).sum(dim=1).clamp(min=1e-30))[:, None]
            found, rest = found + size * step, rest - size * image
            before, left = left, rest.square().sum(dim=1)
            if bool((left <= TOLERANCE**2 * keys.square().sum(dim=1)).all()):
                break
            step = rest + (left / before.clamp(min=1e-30))[:, None] * step
        return found / (found * keys).sum(dim=1, keepdim=True)


def _compared(mine: _Scaled, other: _Scaled, keys: Float[Tensor, "n part"]) -> Float[Tensor, "3 n"]:
    """For each key: what its direction does by the half that it is of, and by the other; and what the key itself does.

    The last is the direction of a ridge so heavy that the memory has no say in it: most rules are solved near that end.
    """
    directions = mine.directions(keys)
    return torch.stack([mine.damage(directions), other.damage(directions), mine.damage(keys)])


def _concluded(images: int, damages: Float[Tensor, "6 n"]) -> Accuracy:
    """How good both halves are together, by what `_compared` says of either."""
    if not damages.numel():
        return Accuracy(images, 0.0, 0.0)
    said, true, plain = (damages[row::3] for row in range(3))
    ratio = float((true / said).log().mean().exp())
    return Accuracy(images, max(0.0, 0.9 * (1 - ratio**-0.5) / 2), max(_noise(said), _noise(plain)))


def _noise(damages: Float[Tensor, "2 n"]) -> float:
    """Standard error of what both halves together say of rules that have keys of several images."""
    pools = torch.stack([damages.roll(shift, dims=1) for shift in range(POOL)]).sum(dim=0)
    return float((pools[0] / pools[1]).log().square().mean().sqrt()) / 2
