"""A picture as a generator draws it: its latent, and a change of weights that is for this picture alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dissect.photographs.nearness import Nearness
from rewrite.generators.classes import Label
from rewrite.generators.contract import Generator
from rewrite.generators.latents import Latents
from rewrite.patch import Patch, Stack
from rewrite.storage import files
from rewrite.storage.quoting import lacking

KIND = "photograph"
# The names under which `rewrite.read_latents` looks for latents are those of the tensors.
LATENTS = ("w", "z")


@dataclass(frozen=True)
class Photograph:
    """A picture, and how a generator draws it.

    Attributes:
        picture: The picture at the generator's size, in [-1, 1].
        latent: The latent that draws it, of one image: w, W+, or z of a generator without w.
        changes: The change of weights for this picture alone, a patch for each layer.
        near: How near each stage of the search came.
        model: Fingerprint of the generator.
        label: The class that the generator drew.
    """

    picture: Float[Tensor, "3 height width"]
    latent: Latents
    changes: tuple[Patch, ...]
    near: tuple[Nearness, ...]
    model: str
    label: Label = 0

    def __repr__(self) -> str:
        height, width = self.picture.shape[1:]
        ends = f", colours={self.near[-1].colours:.3f}" if self.near else ""
        return f"<Photograph of {height} x {width}: {self.latent.kind}, layers={len(self.changes)}{ends}>"

    def check(self, generator: Generator) -> None:
        """Refuse a generator that it was not found with.

        Raises:
            ValueError: It is another one, or draws another class.
        """
        if generator.fingerprint != self.model:
            raise ValueError(f"this photograph was found with model {self.model}, not with {generator.fingerprint}")
        if generator.label != self.label:
            raise ValueError(f"this photograph was found with class {self.label}, not with class {generator.label}")

    @contextmanager
    def applied(
        self, generator: Generator, patches: Sequence[Patch] = (), strengths: Sequence[float] | None = None
    ) -> Iterator[Latents]:
        """Hold the change of weights inside a `with` block; afterwards the weights are what they were, bit for bit.

        Args:
            generator: The generator that it was found with.
            patches: Patches to hold beside it.
            strengths: The strength of each, 1 if left out.

        Yields:
            The latent, on the generator's device: what `generator.sample` draws from it is the photograph.

        Raises:
            ValueError: It was found with another generator, or a patch was made for another one.
        """
        self.check(generator)
        factors = [1.0] * len(patches) if strengths is None else strengths
        with Stack(generator).holding([*self.held, *zip(patches, factors, strict=True)]):
            yield moved(self.latent, generator)

    @property
    def held(self) -> list[tuple[Patch, float]]:
        """The change of weights as a `Stack` holds it."""
        return [(change, 1.0) for change in self.changes]

    def drawn(
        self, generator: Generator, patches: Sequence[Patch] = (), strengths: Sequence[float] | None = None
    ) -> Float[Tensor, "1 3 height width"]:
        """The photograph as the generator draws it, perhaps with patches. See `applied`."""
        with self.applied(generator, patches, strengths) as latent:
            return generator.sample(latent)

    def save(self, path: str | Path) -> None:
        """Write it as safetensors, in which `rewrite.read_latents` finds the latent.

        Raises:
            ValueError: The file cannot be written.
        """
        kind = self.latent.kind[0]
        tensors = {kind: self.latent.z if self.latent.w is None else self.latent.w, "picture": bytes_of(self.picture)}
        for number, change in enumerate(self.changes):
            tensors |= {f"left{number}": change.left, f"right{number}": change.right}
        about = {
            "model": self.model,
            "label": self.label,
            "layers": [[change.layer, change.base] for change in self.changes],
            "near": [list(each) for each in self.near],
        }
        files.save_tensors(path, tensors, KIND, about)

    @classmethod
    def load(cls, path: str | Path) -> "Photograph":
        """Read a file that `save` wrote.

        Returns:
            The photograph.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It holds no photograph, or is damaged.
        """
        tensors, about = files.load_tensors(path, KIND)
        files.finite(tensors, path)
        try:
            return _read(tensors, about)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is a damaged photograph: {lacking(error)}") from None


def is_photograph(path: Path) -> bool:
    """Whether a file holds a photograph; only its header is read."""
    try:
        return files.read_header(path)[0] == KIND
    except (OSError, ValueError):
        return False


def moved(latent: Latents, generator: Generator) -> Latents:
    """A latent on the device and in the precision of a generator; where there is w, z is only of the right shape."""
    like = {"device": generator.device, "dtype": generator.dtype}
    w = None if latent.w is None else latent.w.to(**like)
    z = latent.z.to(**like) if w is None else torch.zeros(1, generator.z_dim, **like)
    return Latents(z, latent.seeds, w)


def bytes_of(picture: Float[Tensor, "3 height width"]) -> Tensor:
    """A picture as bytes, (height, width, 3)."""
    return ((picture.cpu().permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def picture_of(content: Tensor) -> Float[Tensor, "3 height width"]:
    """The picture of bytes."""
    return content.permute(2, 0, 1).float() / 127.5 - 1


def describe(path: str | Path) -> dict[str, Any]:
    """What `rewrite inspect` says of such a file."""
    found = Photograph.load(path)
    return {
        "model": found.model,
        "size": list(found.picture.shape[1:]),
        "latent": found.latent.kind,
        "changed layers": [change.layer for change in found.changes],
        "colours apart": {each.stage: each.colours for each in found.near},
    }


def _read(tensors: dict[str, Tensor], about: dict[str, Any]) -> Photograph:
    content, kind = tensors["picture"], next((name for name in LATENTS if name in tensors), "w")
    latent = tensors[kind]
    if content.dtype != torch.uint8 or content.ndim != 3 or content.shape[2] != 3:
        raise ValueError(f"its picture is {content.dtype} of shape {tuple(content.shape)}")
    if latent.ndim != (3 if kind == "w" else 2) or len(latent) != 1:
        raise ValueError(f"its latent has the shape {tuple(latent.shape)}")
    label = about["label"]
    return Photograph(
        picture=picture_of(content),
        latent=Latents(torch.zeros(1, 0), (0,), latent) if kind == "w" else Latents(latent, (0,)),
        changes=tuple(
            _change(tensors, number, layer, base, about["model"])
            for number, (layer, base) in enumerate(about["layers"])
        ),
        near=tuple(Nearness(str(stage), float(one), _features(other)) for stage, one, other in about["near"]),
        model=str(about["model"]),
        label=label if label is None else str(label) if isinstance(label, str) else int(label),
    )


def _features(value: Any) -> float | None:
    return None if value is None else float(value)


def _change(tensors: dict[str, Tensor], number: int, layer: Any, base: Any, model: Any) -> Patch:
    left, right = tensors[f"left{number}"], tensors[f"right{number}"]
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0] or left.dtype != torch.float32:
        raise ValueError(f"the factors of its change of {layer} do not fit together")
    return Patch(str(layer), left, right, str(base), str(model))
