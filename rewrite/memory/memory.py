"""What a layer usually reads: the uncentred second moment of its keys, with its provenance.

Source: Bau et al., "Rewriting a Deep Generative Model" (ECCV 2020), section 3: a layer is a linear
associative memory, and C = E[k kᵀ] says which keys it already uses.
"""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.classes import Label, said
from rewrite.generators.contract import Generator
from rewrite.generators.layers import Layer
from rewrite.memory.accuracy import Accuracy
from rewrite.rules.settings import KEY_SPACES
from rewrite.storage import files
from rewrite.storage.quoting import lacking, named, quoted

MOST_RANGES = 10_000
ROWS = 256


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
        label: The class that was drawn, or those of seeds; None for all in turn.
        noise: Where noise inputs came from; None where that was not kept.
        seeds: Ranges of seeds that were read, as (first, one after the last).
        accuracy: How far its forecasts may be off, where the measurement asked for that (`samples="auto"`).
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
    label: Label = 0
    noise: str | None = None
    accuracy: Accuracy | None = None

    def __repr__(self) -> str:
        keys = f"{self.key_space} keys={self.count}, dimensions={len(self.total)}"
        known = "" if self.accuracy is None else f", {self.accuracy}"
        drawn = "" if self.label == 0 else f", class={said(self.label)}"
        return f"<Memory of {self.layer}: {keys}, images={self.images}{drawn}, model={self.model}{known}>"

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
            The memory of both; how accurate it is was not asked.

        Raises:
            ValueError: They are of different layers, models or keys, or share seeds.
        """
        for name in ("layer", "key_space", "model", "truncation", "label", "noise"):
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
            accuracy=None,
        )

    def check(self, generator: Generator, layer: str) -> None:
        """Refuse a memory that was not measured on this layer of this generator.

        Raises:
            ValueError: It was measured elsewhere; the message names both sides.
        """
        if self.layer != layer:
            raise ValueError(f"this memory was measured on layer {named(self.layer)}, not on layer {layer}")
        if self.model != generator.fingerprint:
            measured = named(self.model)
            raise ValueError(f"this memory was measured on model {measured}, not on model {generator.fingerprint}")
        if self.truncation != generator.truncation:
            raise ValueError(f"this memory was measured at truncation {self.truncation}, not {generator.truncation}")
        if self.label != generator.label:
            mine, theirs = said(self.label), said(generator.label)
            raise ValueError(f"this memory was measured on class {mine}, not on class {theirs}")
        if self.noise not in (None, generator.noise):
            raise ValueError(f"this memory was measured with noise {quoted(self.noise)}, not {quoted(generator.noise)}")

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
            "label": self.label,
            "noise": self.noise,
            "seeds": self.seeds,
        }
        if self.accuracy is not None:
            about["accuracy"] = asdict(self.accuracy)
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
                label=_label(about.get("label", 0)),
                noise=None if about.get("noise") is None else str(about["noise"]),
                accuracy=_accuracy(about.get("accuracy")),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path} is a damaged memory: {lacking(error)}") from None
        total, power = memory.total, memory.style_power
        if len(memory.seeds) > MOST_RANGES:
            raise ValueError(f"{path} is a damaged memory: it names more than {MOST_RANGES} ranges of seeds")
        if total.ndim != 2 or len(total) == 0 or total.shape[0] != total.shape[1] or total.dtype != torch.float64:
            raise ValueError(f"{path} is a damaged memory: its second moment is {tuple(total.shape)} {total.dtype}")
        files.finite(tensors, path)
        if (total.diagonal() < 0).any() or power.ndim != 1 or (power < 0).any():
            raise ValueError(f"{path} is a damaged memory: its second moment is not that of any keys")
        if not _symmetric(total):
            raise ValueError(f"{path} is a damaged memory: its second moment is not symmetric")
        if memory.key_space not in KEY_SPACES or not (0 < memory.images < 2**63 and 0 < memory.count < 2**63):
            raise ValueError(f"{path} is a damaged memory: it does not say of how many keys, or of which kind")
        return memory


def _label(about: Any) -> Label:
    return about if about is None or isinstance(about, str) else int(about)


def _symmetric(total: Tensor) -> bool:
    """Whether sums of k kᵀ are such; each entry and its mirror are the same products, in another order at most."""
    allowed = 1e-9 * total.diagonal().max()
    rows = range(0, len(total), ROWS)  # not all at once: a large memory is there a second time then
    return all((total[at : at + ROWS] - total[:, at : at + ROWS].T).abs().max() <= allowed for at in rows)


def _accuracy(about: Any) -> Accuracy | None:
    """What a file says of it.

    Raises:
        ValueError: That is no accuracy.
    """
    if about is None:
        return None
    found = Accuracy(int(about["images"]), float(about["bias"]), float(about["noise"]))
    if found.images < 1 or not (0 <= found.bias < 1 and 0 <= found.noise < math.inf):
        raise ValueError(f"no memory is as accurate as {quoted(found)}")
    return found


def said_of(accuracy: Accuracy | None) -> dict[str, Any]:
    """An accuracy in numbers and words, for those who read results."""
    if accuracy is None:
        return {}
    return {"bias": accuracy.bias, "noise": accuracy.noise, "off": accuracy.off, "stopped": accuracy.why}


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
        **said_of(memory.accuracy),
        "model": memory.model,
        "truncation": memory.truncation,
        "class": said(memory.label),
        "noise": memory.noise,
        "condition": float(eigenvalues[-1] / eigenvalues[0].clamp(min=1e-300)),
    }
