"""The inputs of a user's module, of one tensor or of several, as rows of numbers and back."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class InputForm(NamedTuple):
    """What a module takes: shape and type of each of its inputs for one image.

    Attributes:
        shapes: The shape of each input, without that of the batch.
        types: The type of each; None for that of the module's weights.
        names: The names of the module's arguments; None where inputs are given by their order.
    """

    shapes: tuple[tuple[int, ...], ...]
    types: tuple[torch.dtype | None, ...]
    names: tuple[str, ...] | None = None

    @classmethod
    def plain(cls, shape: int | tuple[int, ...]) -> "InputForm":
        """One input of numbers."""
        return cls(((shape,) if isinstance(shape, int) else tuple(shape),), (None,))

    @classmethod
    def of(cls, inputs: Any) -> "InputForm":
        """The form of some inputs.

        Raises:
            ValueError: They are no tensors.
        """
        tensors = _listed(inputs)
        types = tuple(None if tensor.is_floating_point() else tensor.dtype for tensor in tensors)
        names = tuple(inputs) if isinstance(inputs, Mapping) else None
        return cls(tuple(tuple(tensor.shape[1:]) for tensor in tensors), types, names)

    def __str__(self) -> str:
        parts = [f"{name}={shape}" for name, shape in zip(self.names or (), self.shapes, strict=False)]
        return f"shape {', '.join(parts or map(str, self.shapes))}"

    @property
    def size(self) -> int:
        """How many numbers stand for one image."""
        return sum(math.prod(shape) for shape in self.shapes)

    def joined(self, inputs: Any, count: int) -> Float[Tensor, "images size"]:
        """Inputs as one row of numbers an image.

        Raises:
            ValueError: They are of another number or form.
        """
        tensors = _listed(inputs)
        found = [tuple(tensor.shape) for tensor in tensors]
        if found != [(count, *shape) for shape in self.shapes]:
            given = ", ".join(map(str, found))
            raise ValueError(f"the function of latents must give {count} latents of {self}, it gave {given}")
        rows = [tensor.reshape(len(tensor), -1) for tensor in tensors]
        # Whole numbers (classes) are exact in float32 up to 16 million.
        return rows[0] if len(rows) == 1 and self.types == (None,) else torch.cat([row.float() for row in rows], dim=1)

    def split(self, rows: Tensor, dtype: torch.dtype) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Rows of numbers as the module's arguments: those by order, and those by name."""
        sizes = [math.prod(shape) for shape in self.shapes]
        parts = [
            part.reshape(len(rows), *shape).to(kind or dtype)
            for part, shape, kind in zip(rows.split(sizes, dim=1), self.shapes, self.types, strict=True)
        ]
        return (tuple(parts), {}) if self.names is None else ((), dict(zip(self.names, parts, strict=True)))


def _listed(inputs: Any) -> list[Tensor]:
    tensors = list(inputs.values()) if isinstance(inputs, Mapping) else inputs
    tensors = list(tensors) if isinstance(tensors, list | tuple) else [tensors]
    if not tensors or not all(isinstance(tensor, Tensor) and tensor.ndim for tensor in tensors):
        raise ValueError("the function of latents gives a tensor, a tuple of tensors or a dictionary of them")
    return tensors
