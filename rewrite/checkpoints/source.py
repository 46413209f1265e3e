"""A checkpoint as a generator and as the place that each of its weights came from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.names import NamePath, own_names
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.contract import Generator

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Source:
    """An opened checkpoint of another tool.

    Attributes:
        generator: The network that it holds.
        archive: The file.
        places: Where each tensor of our network lies in it; one without a place is not written back.
        family: What people call files like this.
    """

    generator: Generator
    archive: Archive
    places: Mapping[str, Placed]
    family: str

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.archive.path

    @property
    def kind(self) -> str:
        """Its container: `zip`, `stream`, `pickle` or `safetensors`."""
        return self.archive.kind

    def names(self) -> dict[NamePath, Placed]:
        """Where each tensor of the generator lies, by the names of the tool that made the file; none if it has none."""
        return own_names(self.archive.content, list(self.places.values()))

    def state(self, tensors: Mapping[str, Tensor]) -> dict[NamePath, Tensor]:
        """All tensors of the generator by the names of the tool that made the file, with other values for some.

        A file without such names, as TensorFlow's, gives those of our network.

        Args:
            tensors: The other values, by the names of our network.

        Raises:
            ValueError: The file holds no such tensor, or is damaged.
        """
        named = self.names()
        if not named:
            ours = {**self.generator.module.state_dict(), **tensors}
            return {(name,): tensor.detach().cpu() for name, tensor in ours.items()}
        changed = {_where(placed): values for placed, values in self._placed(tensors)}
        return {
            name: changed[_where(placed)].clone() if _where(placed) in changed else self.archive.read(placed)
            for name, placed in named.items()
        }

    def export(self, path: str | Path, tensors: Mapping[str, Tensor], edits: Mapping[str, Any]) -> None:
        """Write the file again with other values for some tensors of our network.

        What the edits were is not written: every byte that is no edited number stays what it was.

        Raises:
            ValueError: The file holds no such tensor, or cannot be written.
        """
        self.archive.write(path, dict(enumerate(self._placed(tensors))))

    def _placed(self, tensors: Mapping[str, Tensor]) -> list[tuple[Placed, Tensor]]:
        """Where tensors of our network lie in the file, and their values in its shapes and types."""
        missing = sorted(set(tensors) - set(self.places))
        if missing:
            raise ValueError(f"{self.archive.path} holds no tensor {missing[0]}")
        places = [(self.places[name], values) for name, values in tensors.items()]
        return [(place, values.detach().cpu().reshape(place.shape).to(place.dtype)) for place, values in places]


def read_state(
    archive: Archive,
    build: Callable[[], Network],
    places: Mapping[str, Placed],
    family: str,
    optional: tuple[str, ...] = (),
) -> Network:
    """Build a network and fill it with tensors that lie in an archive.

    Its size is checked before it is built: no file makes a network that is larger than itself.

    Args:
        archive: The file.
        build: Makes the network; called once without memory and once with.
        places: Where each of its tensors lies.
        family: What people call files like this.
        optional: Endings of names that may be missing; such tensors are zero then.

    Raises:
        ValueError: A tensor is missing, has another size, or is not finite.
    """
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in build().state_dict().items()}
    for name, shape in shapes.items():
        if name not in places:
            if not name.endswith(optional or "\0"):
                raise ValueError(f"{archive.path} is no complete {family}: {name} is missing")
        elif _plain(places[name].shape) != _plain(shape):
            raise ValueError(f"{archive.path} is no {family}: {name} has the shape {places[name].shape}, not {shape}")
    network = build()
    for name, tensor in network.state_dict().items():
        if name not in places:
            tensor.zero_()
            continue
        tensor.copy_(archive.read(places[name]).reshape(tensor.shape))
        if not tensor.isfinite().all():
            raise ValueError(f"{archive.path} holds values that are not finite, first in {name}")
    return network


def _where(placed: Placed) -> tuple[int, int]:
    """What two tensors at one place of a file have in common."""
    return id(placed.storage), placed.offset


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its dimensions of length one, in which tools differ."""
    return tuple(size for size in shape if size != 1)
