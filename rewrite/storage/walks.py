"""The files of a folder and its folders, by one set of rules for everything that reads folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path

# What unpacking an archive of macOS leaves beside its files.
COMPANIONS = "__MACOSX"


def files_in(folder: Path, endings: Sequence[str], within: Path | None = None) -> Iterator[Path]:
    """The files with these endings, in the order of their paths.

    What is hidden is left out, and what macOS keeps beside files (`._name`, `__MACOSX`). A link to a file is that file.

    Args:
        folder: Where to look.
        endings: The endings, in lower case, with their dots.
        within: Where links may lead; the folder itself if left out.

    Raises:
        ValueError: A link leads elsewhere.
    """
    root = (within or folder).resolve()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() not in endings or any(part.startswith(".") or part == COMPANIONS for part in parts):
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise ValueError(f"a link stays in its folder {root}, {path} leads to {path.resolve()}")
        if path.is_file():
            yield path
