"""What a layer usually reads: the uncentred second moment of its keys, with its provenance.

Source: Bau et al., "Rewriting a Deep Generative Model" (ECCV 2020), section 3: a layer is a linear
associative memory, and C = E[k kᵀ] says which keys it already uses.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.linalg import get_blas_funcs
from torch import Tensor
from tqdm import tqdm

from rewrite.generators.contract import Cut, Generator, batched
from rewrite.generators.devices import wide
from rewrite.generators.layers import Layer
from rewrite.rules.rule import KEY_SPACES
from rewrite.storage import files
from rewrite.threads import one_blas_thread

FIRST_SEED = 1_000_000
# More of them hardly lower the damage: N keys of d numbers give N / (N - d) times the least possible.
KEYS_PER_DIMENSION = 20
# Adds a symmetric product to one half of a matrix.
(SYRK,) = get_blas_funcs(["syrk"], dtype=np.float64)


@dataclass(frozen=True)
class Memory:
    """Sums over the keys of many samples; two memories of the same layer can be added.

    Attributes:
        total: Sum of k kᵀ over all keys read, float64. For channel keys k is the vector of one position of
            the layer's input; for patch keys it is everything that one output position reads.
        count: Number of keys in `total`.
        style_power: Sum of s² over the images, for each input channel of a modulated layer; empty otherwise.
        images: Number of images read.
        layer: Name of the layer.
        key_space: `patch` or `channel`.
        model: Fingerprint of the generator's weights.
        truncation: Truncation of the latents.
        seeds: Ranges of seeds that were read, as (first, one after the last).
    """

    total: Float[Tensor, "key key"]
    count: int
    style_power: Float[Tensor, " inputs"]
    images: int
    layer: str
    key_space: str
    model: str
    truncation: float = 1.0
    seeds: tuple[tuple[int, int], ...] = field(default=())

    def __repr__(self) -> str:
        keys = f"{self.key_space} keys={self.count}, dimensions={len(self.total)}"
        return f"<Memory of {self.layer}: {keys}, images={self.images}, model={self.model}>"

    @property
    def second_moment(self) -> Float[Tensor, "key key"]:
        """C = E[k kᵀ], float64."""
        return self.total / self.count

    @property
    def mean_style_power(self) -> Float[Tensor, " inputs"]:
        """E[s²] of the modulation, float64; empty for a plain layer."""
        return self.style_power / max(self.images, 1)

    def patch_moment(self, layer: Layer) -> Float[Tensor, "key key"]:
        """C over patch keys. Channel keys do not say how the taps depend on one another: they count as independent."""
        if self.key_space == "patch":
            return self.second_moment
        return torch.kron(self.second_moment, torch.eye(layer.taps, dtype=self.total.dtype))

    def __add__(self, other: "Memory") -> "Memory":
        """Join two memories of the same layer that were measured on different seeds.

        Returns:
            The memory of both.

        Raises:
            ValueError: They are of different layers, models or keys, or share seeds.
        """
        for name in ("layer", "key_space", "model", "truncation"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(f"memories can be joined only if their {name} agree, got {mine} and {theirs}")
        overlap = [(a, b) for a in self.seeds for b in other.seeds if a[0] < b[1] and b[0] < a[1]]
        if overlap:
            raise ValueError(
                f"these memories share seeds ({overlap[0][0]} and {overlap[0][1]}): they would count twice"
            )
        return replace(
            self,
            total=self.total + other.total,
            count=self.count + other.count,
            style_power=self.style_power + other.style_power,
            images=self.images + other.images,
            seeds=tuple(sorted(self.seeds + other.seeds)),
        )

    def check(self, generator: Generator, layer: str) -> None:
        """Refuse a memory that was not measured on this layer of this generator.

        Raises:
            ValueError: It was measured elsewhere; the message names both sides.
        """
        if self.layer != layer:
            raise ValueError(f"this memory was measured on layer {self.layer}, not on layer {layer}")
        if self.model != generator.fingerprint:
            raise ValueError(f"this memory was measured on model {self.model}, not on model {generator.fingerprint}")
        if self.truncation != generator.truncation:
            raise ValueError(f"this memory was measured at truncation {self.truncation}, not {generator.truncation}")

    def save(self, path: str | Path) -> None:
        """Write the memory as safetensors, with its provenance as metadata.

        Raises:
            ValueError: The file cannot be written.
        """
        about = {
            "count": self.count,
            "images": self.images,
            "layer": self.layer,
            "key_space": self.key_space,
            "model": self.model,
            "truncation": self.truncation,
            "seeds": self.seeds,
        }
        tensors = {"total": self.total, "style_power": self.style_power}
        files.save_tensors(path, tensors, "memory", about)

    @classmethod
    def load(cls, path: str | Path) -> "Memory":
        """Read a memory that `save` wrote.

        Returns:
            The memory.

        Raises:
            ValueError: The file is not a memory, is damaged, or holds numbers that a second moment cannot have.
        """
        tensors, about = files.load_tensors(path, "memory")
        try:
            memory = cls(
                total=tensors["total"],
                style_power=tensors["style_power"],
                count=int(about["count"]),
                images=int(about["images"]),
                layer=str(about["layer"]),
                key_space=str(about["key_space"]),
                model=str(about["model"]),
                truncation=float(about["truncation"]),
                seeds=tuple((int(first), int(last)) for first, last in about["seeds"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path} is a damaged memory: {error!r}") from None
        total, power = memory.total, memory.style_power
        if total.ndim != 2 or total.shape[0] != total.shape[1] or total.dtype != torch.float64:
            raise ValueError(f"{path} is a damaged memory: its second moment is {tuple(total.shape)} {total.dtype}")
        files.finite(tensors, path)
        if (total.diagonal() < 0).any() or power.ndim != 1 or (power < 0).any():
            raise ValueError(f"{path} is a damaged memory: its second moment is not that of any keys")
        if memory.key_space not in KEY_SPACES or not (0 < memory.images < 2**63 and 0 < memory.count < 2**63):
            raise ValueError(f"{path} is a damaged memory: it does not say of how many keys, or of which kind")
        return memory


def measure(
    generator: Generator,
    layer: str,
    samples: int = 2000,
    *,
    key_space: str = "patch",
    first_seed: int = FIRST_SEED,
    batch: int = 16,
    progress: bool = False,
    on_progress: Callable[[int], object] | None = None,
) -> Memory:
    """Measure the second moment of a layer's keys.

    Channel keys are read at every position. Patch keys are read at a sample of positions drawn from each
    image's seed, enough for about 20 keys for each dimension: an unbiased estimate at a fraction of the cost.

    Args:
        generator: The generator.
        layer: Name of the layer.
        samples: Number of images.
        key_space: `patch` for the whole receptive field of the layer, `channel` for single positions.
        first_seed: Seed of the first image, which the next ones follow; the default is far from those people look at.
        batch: Images in one run; it does not change which keys are read.
        progress: Show a progress bar.
        on_progress: Called with the number of images read so far; what it raises ends the measurement.

    Returns:
        The memory, whose sums are in float64 on the CPU.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: A number is out of range, or the layer reads values that are not finite.
    """
    sums = _begun(generator, layer, samples, key_space)
    seeds = range(first_seed, first_seed + samples)
    with (
        torch.no_grad(),
        # The products are short: a second thread of BLAS would mostly wait, and take a core from the generator.
        one_blas_thread(),
        tqdm(total=samples, desc=f"measure {layer}", unit="img", delay=1, disable=not progress) as bar,
    ):
        for part in batched(seeds, batch):
            sums.add(generator.cut(layer, generator.latents(part)), part)
            bar.update(len(part))
            if on_progress is not None:
                on_progress(part[-1] + 1 - first_seed)
    total = sums.total()
    if not torch.isfinite(total).all():
        raise ValueError(f"layer {layer} reads values that are not finite: the generator's weights are damaged")
    return Memory(
        total=total,
        count=sums.count,
        style_power=sums.style_power.cpu(),
        images=samples,
        layer=layer,
        key_space=key_space,
        model=generator.fingerprint,
        truncation=generator.truncation,
        seeds=((seeds.start, seeds.stop),),
    )


def _begun(generator: Generator, layer: str, samples: int, key_space: str) -> "Sums":
    """The sums before any image was read."""
    if key_space not in KEY_SPACES:
        raise ValueError(f"key_space must be one of {', '.join(KEY_SPACES)}, got {key_space!r}")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    described = generator.layer(layer)
    chosen = positions_per_image(described, samples) if key_space == "patch" else None
    return Sums(described, chosen, generator.device)


class Sums:
    """Sums over the keys of a layer, in float64.

    Only the lower half of the symmetric sum of k kᵀ is computed; for an upsampling layer, whose phases have no entry of
    a key in common, only the part of each phase.

    Attributes:
        count: Number of keys.
        style_power: Sum of s² over the images; empty for a layer without modulation.
    """

    def __init__(self, layer: Layer, chosen: int | None, device: torch.device):
        """Begin at zero.

        Args:
            layer: The layer.
            chosen: Number of patch keys of each image, or None for the channel keys of all positions.
            device: Where the keys are. The sums are kept there too, if it knows float64.
        """
        self.device = device = wide(device)
        self.layer, self.chosen, self.count = layer, chosen, 0
        self.style_power = torch.zeros(0, dtype=torch.float64, device=device)
        self._phases = [torch.arange(layer.inputs)] if chosen is None else _phases(layer)
        self._totals = [torch.zeros(len(each), len(each), dtype=torch.float64, device=device) for each in self._phases]

    def add(self, cut: Cut, seeds: Sequence[int]) -> None:
        """Add the keys of some images."""
        if self.layer.modulated and cut.style is not None:
            power = cut.style.to(self.device).double().square().sum(dim=0)
            self.style_power = self.style_power + power if len(self.style_power) else power
        if self.chosen is None:
            for image in cut.features.flatten(2):
                self.count += image.shape[1]
                _add_lower(self._totals[0], image.to(self.device).double())
            return
        keys = self._read(cut.features, seeds, self.chosen)
        self.count += len(keys)
        for columns, total in zip(self._phases, self._totals, strict=True):
            part = keys
            if len(self._phases) > 1:
                part = keys[:, columns.to(keys.device)]
                part = part[part.any(dim=1)]
            _add_lower(total, part.to(self.device).double().T)

    def total(self) -> Float[Tensor, "key key"]:
        """The sum of k kᵀ over all keys, on the CPU."""
        size = sum(map(len, self._phases))
        whole = torch.zeros(size, size, dtype=torch.float64)
        for columns, total in zip(self._phases, self._totals, strict=True):
            lower = total.cpu().tril()
            whole[columns[:, None], columns] = lower + lower.tril(-1).T
        return whole

    def _read(self, features: Tensor, seeds: Sequence[int], chosen: int) -> Float[Tensor, "keys key"]:
        area = self.layer.output_grid[0] * self.layer.output_grid[1]
        drawn = [np.random.default_rng((seed, area)).choice(area, chosen, replace=False) for seed in seeds]
        return self.layer.keys(features, torch.from_numpy(np.stack(drawn)).to(features.device)).flatten(0, 1)


def _add_lower(total: Float[Tensor, "key key"], entries: Float[Tensor, "key n"]) -> None:
    """Add the sum of k kᵀ to a total; what stands above its diagonal means nothing."""
    if total.device.type != "cpu":
        total.addmm_(entries, entries.T)
    elif entries.numel():
        # BLAS computes one half of a symmetric product, in columns: to it, the lower half of our rows is the upper one.
        by_column = not entries.is_contiguous()
        read = entries if by_column else entries.T
        SYRK(1, read.numpy(), 1, total.T.numpy(), not by_column, overwrite_c=1)


def _phases(layer: Layer) -> list[Int[Tensor, " columns"]]:
    """Which entries of a whole key are read together."""
    firsts = torch.arange(layer.groups)[:, None] * (layer.width // layer.groups)
    return [(firsts + columns).flatten() for columns in layer.phases()]


def positions_per_image(layer: Layer, samples: int) -> int:
    """How many output positions of each image to read for patch keys."""
    height, width = layer.output_grid
    return min(height * width, max(4, math.ceil(KEYS_PER_DIMENSION * layer.width / samples)))


def describe(path: str | Path) -> dict:
    """What `rewrite inspect` says of a memory file."""
    memory = Memory.load(path)
    eigenvalues = torch.linalg.eigvalsh(memory.second_moment)
    return {
        "layer": memory.layer,
        "key space": memory.key_space,
        "dimensions": len(memory.total),
        "keys": memory.count,
        "images": memory.images,
        "seeds": json.loads(json.dumps(memory.seeds)),
        "model": memory.model,
        "truncation": memory.truncation,
        "condition": float(eigenvalues[-1] / eigenvalues[0].clamp(min=1e-300)),
    }
