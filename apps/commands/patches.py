"""The patches and strengths of a command line."""

from collections.abc import Sequence
from pathlib import Path

from rewrite import Classifier, Generator, Patch, from_peft


def load_patches(
    generator: Generator | Classifier, paths: Sequence[Path], strengths: Sequence[float] | None
) -> list[tuple[Patch, float]]:
    """Load patches, each with its strength: one for all, one for each file, or 1.

    A folder is a PEFT adapter, and gives a patch for each layer that it changes.

    Raises:
        FileNotFoundError: There is no such file.
        LookupError: An adapter changes a layer that the generator does not have.
        ValueError: A file holds no patch or no adapter that fits, or strengths and files differ in number.
    """
    strengths = strengths or [1.0]
    if len(strengths) not in (1, len(paths)):
        raise ValueError(f"--strength is given once, or once for each of {len(paths)} patches, got {len(strengths)}")
    factors = strengths * len(paths) if len(strengths) == 1 else strengths
    return [
        (patch, factor)
        for path, factor in zip(paths, factors, strict=True)
        for patch in (from_peft(generator, path) if path.is_dir() else (Patch.load(path),))
    ]
