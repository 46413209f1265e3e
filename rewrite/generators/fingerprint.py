"""A hash that says which weights these are."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

# What is known of networks whose weights are held, with the networks, so that no other takes the place of one.
HELD: ContextVar[dict[int, tuple[nn.Module, str]] | None] = ContextVar("HELD", default=None)


@contextmanager
def weights_held() -> Iterator[None]:
    """A block, or a function, in which this thread changes no weight: each fingerprint is computed once in it."""
    token = HELD.set({})
    try:
        yield
    finally:
        HELD.reset(token)


def fingerprint_of(module: nn.Module, state: Mapping[str, Tensor]) -> str:
    """The hash of a network's state, or what it was before in the same block of `weights_held`."""
    held = HELD.get()
    if held is None:
        return hash_of(state)
    if id(module) not in held:
        held[id(module)] = module, hash_of(state)
    return held[id(module)][1]


def hash_of(tensors: Mapping[str, Tensor]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 over names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
