"""Patches and their strengths as the commands take them."""

from collections.abc import Sequence
from pathlib import Path

from rewrite import Patch


def load_patches(paths: Sequence[Path], strengths: Sequence[float] | None) -> list[tuple[Patch, float]]:
    """The patches of some files with one strength for all, one for each, or 1.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file holds no patch, or strengths and patches differ in number.
    """
    strengths = strengths or [1.0]
    if len(strengths) not in (1, len(paths)):
        raise ValueError(f"--strength is given once, or once for each of {len(paths)} patches, got {len(strengths)}")
    factors = strengths * len(paths) if len(strengths) == 1 else strengths
    return [(Patch.load(path), factor) for path, factor in zip(paths, factors, strict=True)]
