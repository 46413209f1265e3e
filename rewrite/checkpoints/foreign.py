"""A checkpoint as a generator and as the place that each of its weights came from."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.cursor import DamagedError
from rewrite.checkpoints.names import NamePath, own_names
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.network import Network as LayeredNetwork
from rewrite.storage import files
from rewrite.storage.quoting import lacking, reason_of

Network = TypeVar("Network", bound=nn.Module)
Model = TypeVar("Model", bound=LayeredNetwork)


@dataclass(frozen=True)
class ForeignFile(Generic[Model]):
    """An opened checkpoint of another tool.

    Attributes:
        generator: The network that it holds.
        archive: The file.
        places: Where each tensor of our network lies in it; one without a place is not written back.
        family: The kind of file, for messages.
        candidate: Which part of the file it is.
    """

    generator: Model
    archive: Archive
    places: Mapping[str, Placed]
    family: str
    candidate: Candidate

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
        return own_names(self.archive.content, self.candidate, list(self.places.values()))

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
            return {(name,): files.held_as(tensor, tensor.dtype, name) for name, tensor in ours.items()}
        changed = {placed.where: values for placed, values in self._placed(tensors)}
        return {
            name: changed[placed.where].clone() if placed.where in changed else self.archive.read(placed)
            for name, placed in named.items()
        }

    def export(self, path: str | Path, tensors: Mapping[str, Tensor], edits: Mapping[str, Any]) -> None:
        """Write the file again with other values for some tensors of our network.

        The history of edits is not written: every byte that does not belong to an edited number stays as it was.

        Raises:
            ValueError: The file holds no such tensor or not such numbers, or cannot be written.
        """
        self.archive.write(path, self._placed(tensors))

    def _placed(self, tensors: Mapping[str, Tensor]) -> list[tuple[Placed, Tensor]]:
        """Where tensors of our network lie in the file, and their values in its shapes and types."""
        missing = sorted(set(tensors) - set(self.places))
        if missing:
            raise ValueError(f"{self.archive.path} holds no tensor {missing[0]}")
        return [
            (place, files.held_as(values.reshape(place.shape), place.dtype, name))
            for name, values in tensors.items()
            for place in [self.places[name]]
        ]


def read_state(
    archive: Archive,
    build: Callable[[], Network],
    places: Mapping[str, Placed],
    family: str,
    optional: tuple[str, ...] = (),
) -> Network:
    """Build a network and fill it with tensors that lie in an archive.

    Shapes are checked before it is filled: a file cannot ask for a network larger than itself.

    Args:
        archive: The file.
        build: Makes the network.
        places: Where each of its tensors lies.
        family: The kind of file, for messages.
        optional: Endings of names that may be missing; such tensors are zero then.

    Raises:
        ValueError: A tensor is missing, has another size, or is not finite.
    """
    network = hollow(build)
    for name, shape in shapes(network).items():
        if name not in places:
            if not name.endswith(optional or "\0"):
                raise ValueError(f"{archive.path} is not a complete {family}: {name} is missing")
        elif _plain(places[name].shape) != _plain(shape):
            raise ValueError(
                f"{archive.path} is not a {family}: {name} has the shape {places[name].shape}, not {shape}"
            )
    expected = network.state_dict()
    found = archive.read_all({name: places[name] for name in expected if name in places})
    files.finite(found, archive.path)
    for name, tensor in expected.items():
        found[name] = found[name].reshape(tensor.shape) if name in found else torch.zeros(tensor.shape).to(tensor.dtype)
    return filled(network, found)


def hollow(build: Callable[[], Network]) -> Network:
    """A network whose tensors have shapes and no numbers: neither memory nor time goes into what a file will replace.

    Args:
        build: Makes the network; what it puts on a device of its own choice stays there.
    """
    with torch.device("meta"):
        return build()


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a network."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def filled(network: Network, tensors: Mapping[str, Tensor]) -> Network:
    """A hollow network with these tensors in place of its own, which it takes without a copy where their types fit."""
    types = {name: tensor.dtype for name, tensor in network.state_dict().items()}
    network.load_state_dict({name: tensor.to(types[name]) for name, tensor in tensors.items()}, assign=True)
    return network


@contextmanager
def complete(path: Path, family: str) -> Iterator[None]:
    """Say in one sentence where a file has values of the wrong kind in place of a family's numbers or tensors.

    Raises:
        ValueError: It has.
    """
    try:
        yield
    except DamagedError as error:
        raise ValueError(f"{path} cannot be read: {reason_of(error)}") from None
    except (TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is not a complete {family}: {lacking(error)}") from None


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its dimensions of length one, in which tools differ."""
    return tuple(size for size in shape if size != 1)
