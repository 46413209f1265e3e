"""Work as it travels: a function, what it works on, and what tells a worker that both sides are alike."""

import hashlib
import pickle
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from rewrite.generators.fingerprint import hash_of
from rewrite.generators.network import Network
from rewrite.storage.quoting import reason_of
from rewrite.version import __version__


@dataclass(frozen=True)
class Work:
    """What is found of some numbered images: `function(subject, numbers, *given)`.

    Attributes:
        function: A function of a module, which another process imports anew.
        subject: What all shards share, with the weights; it travels once to each worker.
        network: Whose fingerprint a worker holds against that of this side, if anybody's.
        given: What else the function takes; it travels with each shard.
        local: What it takes by name in this process alone, such as whom to tell how far it is.
    """

    function: Callable[..., Any]
    subject: Any
    network: Network | nn.Module | None = None
    given: tuple[Any, ...] = ()
    local: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, numbers: Sequence[int]) -> Any:
        """Do a shard in this process."""
        return self.function(self.subject, numbers, *self.given, **self.local)


@dataclass(frozen=True)
class Parcel:
    """What a worker is told of a subject.

    Attributes:
        key: The SHA-256 of its bytes.
        fingerprint: Of its network, on the side that sent it.
        versions: Of what the numbers depend on, there.
        path: A file that holds the bytes; None where the worker was given them before.
    """

    key: str
    fingerprint: str
    versions: tuple[tuple[str, str], ...]
    path: str | None = None


def packed(work: Work) -> tuple[Parcel, bytes]:
    """The subject of some work as bytes, and what is told of them.

    Raises:
        ValueError: It cannot be taken apart into bytes, such as a function that was made while the program ran.
    """
    try:
        content = pickle.dumps((work.subject, work.network), pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"this cannot be sent to other processes ({reason_of(error)}): leave the workers out"
        ) from None
    return Parcel(hashlib.sha256(content).hexdigest(), fingerprint_of(work.network), versions()), content


def fingerprint_of(network: Network | nn.Module | None) -> str:
    """A hash of the weights as they are now."""
    if network is None:
        return ""
    return network.fingerprint if isinstance(network, Network) else hash_of(network.state_dict())


def versions() -> tuple[tuple[str, str], ...]:
    """What numbers may depend on beside weights and seeds, with its version in this process."""
    return (
        ("model-rewriting", __version__),
        ("Python", ".".join(platform.python_version_tuple()[:2])),
        ("torch", str(torch.__version__)),
        ("numpy", np.__version__),
    )
