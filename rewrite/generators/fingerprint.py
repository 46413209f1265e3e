"""A hash that says which weights these are."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def hash_of(tensors: Mapping[str, Tensor]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 over names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
