"""A checkpoint as a generator and as the place that each of its weights came from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rewrite.checkpoints.archives import Archive
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

    def export(self, path: str | Path, tensors: Mapping[str, Tensor], edits: Mapping[str, Any]) -> None:
        """Write the file again with other values for some tensors of our network.

        What the edits were is not written: every byte that is no edited number stays what it was.

        Raises:
            ValueError: The file holds no such tensor, or cannot be written.
        """
        missing = sorted(set(tensors) - set(self.places))
        if missing:
            raise ValueError(f"{self.archive.path} holds no tensor {missing[0]}")
        changes = {}
        for number, (name, values) in enumerate(tensors.items()):
            place = self.places[name]
            changes[number] = (place, values.detach().cpu().reshape(place.shape).to(place.dtype))
        self.archive.write(path, changes)


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


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its dimensions of length one, in which tools differ."""
    return tuple(size for size in shape if size != 1)
