"""The registry: names of checkpoints that their authors publish, and what is known of each."""

import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rewrite.checkpoints.downloads import download, parts_of, sha256_of, shown
from rewrite.storage import files
from rewrite.storage.caches import cache_folder
from rewrite.storage.quoting import quoted

# torch.hub's convention: the first eight digits of the SHA-256 end the file's name.
PREFIX = re.compile(r"-([0-9a-f]{8})\.[a-z]+")


@dataclass(frozen=True)
class Published:
    """A checkpoint that its authors publish.

    Attributes:
        name: What it is called here.
        url: Where the authors publish it.
        licence: Under which terms.
        family: What kind of generator it holds.
        sha256: Its hash, where the authors give one.
        size: Its bytes, where the authors say.
    """

    name: str
    url: str
    licence: str
    family: str
    sha256: str | None = None
    size: int | None = None

    @property
    def path(self) -> Path:
        """Where it lies in the user's cache once it is downloaded: under the authors' own file name."""
        return cache_folder() / "checkpoints" / self.url.rpartition("/")[2]

    @property
    def expected(self) -> str | None:
        """What its SHA-256 begins with: all of it, what the file's name carries, or None where nothing is known."""
        found = PREFIX.search(self.url)
        return self.sha256 or (found[1] if found else None)


def names() -> list[str]:
    """All names, in the order of the table."""
    return list(PUBLISHED)


def find(name: str) -> Published:
    """What is known of a checkpoint.

    Raises:
        LookupError: There is none of that name.
    """
    if name not in PUBLISHED:
        near = get_close_matches(name, PUBLISHED, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PUBLISHED)}"
        raise LookupError(f"there is no published checkpoint {quoted(name)}: {hint}")
    return PUBLISHED[name]


def kept() -> list[Path]:
    """What downloads left in the user's cache: checkpoints, their hashes, and parts of some that were cut short."""
    paths = [
        file
        for published in PUBLISHED.values()
        for file in (published.path, _note_of(published.path), *parts_of(published.path))
    ]
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def fetch(name: str, *, progress: bool = False) -> Path:
    """The file of a published checkpoint: from the user's cache, or downloaded into it.

    The hash of what came is noted beside it, so that a later change is noticed also where the authors give no hash.

    Raises:
        LookupError: There is none of that name.
        ValueError: The file is not the one that was published or noted, or the network or the disk refused.
    """
    published = find(name)
    path = published.path
    if path.is_file():
        found = sha256_of(path)
        expected = _noted(path) or published.expected or ""
        if not found.startswith(expected) or not found.startswith(published.expected or ""):
            raise ValueError(
                f"{path} is damaged or another file: its SHA-256 is {found}, not {shown(expected)}; "
                "remove it to download it again"
            )
        if _noted(path):
            return path
    else:
        found = download(published.url, path, published.expected, progress=progress)
    _note(path, found)
    return path


def _note(path: Path, found: str) -> None:
    """Write down a hash, as sha256sum does."""
    # A shared folder that may only be read serves as well.
    with suppress(ValueError):
        files.write_whole(_note_of(path), lambda part: part.write_text(f"{found}  {path.name}\n", encoding="utf-8"))


def _noted(path: Path) -> str | None:
    note = _note_of(path)
    return note.read_text(encoding="utf-8", errors="replace").partition(" ")[0] if note.is_file() else None


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _read(path: Path) -> Iterator[Published]:
    for release in tomllib.loads(path.read_text(encoding="utf-8"))["releases"]:
        for name, known in release["files"].items():
            entry: dict[str, Any] = {"file": known} if isinstance(known, str) else dict(known)
            url = release["address"] + entry.pop("file")
            yield Published(name, url, release["licence"], release["family"], **entry)


PUBLISHED = {published.name: published for published in _read(Path(__file__).with_suffix(".toml"))}
