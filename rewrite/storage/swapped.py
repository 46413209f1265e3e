"""A folder takes the place of another in one step, so that no moment shows some of its files new and others old."""

import ctypes
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

MOST_FILES = 1000
HERE, EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE


def possible(folder: Path, targets: Iterable[Path]) -> bool:
    """Whether a folder can be swapped: it is not there yet, or nothing but its files would differ.

    Links and folders in it, files with several names and processes that work in it would be left behind.
    """
    if not os.access(folder.parent, os.W_OK | os.X_OK):
        return False
    if not folder.exists():
        return True
    if not sys.platform.startswith("linux") or any(target.parent != folder for target in targets):
        return False
    entries = list(os.scandir(folder))
    if len(entries) > MOST_FILES:
        return False
    plain = all(each.is_file(follow_symlinks=False) and each.stat().st_nlink == 1 for each in entries)
    ours = folder.stat().st_uid == os.geteuid() and os.access(folder, os.W_OK | os.X_OK)
    return plain and ours and not folder.is_mount() and not any(folder in (at, *at.parents) for at in _worked_in())


def put(made: Path, folder: Path, names: Collection[str]) -> bool:
    """Put a folder with new files of these names in place of another, whose other files stay.

    Returns:
        Whether the system can do that; if not, the old folder is still there.
    """
    if not folder.exists():
        made.rename(folder)
        return True
    try:
        for path in folder.iterdir():
            if path.name not in names:
                os.link(path, made / path.name)
        made.chmod(folder.stat().st_mode & 0o7777)
        _exchange(made, folder)
    except (OSError, AttributeError):  # a file system or a C library without it
        return False
    # `made` now holds the old files. Another program may have written one meanwhile.
    for path in made.iterdir():
        new = folder / path.name
        if path.name not in names and not (new.exists() and new.samefile(path)):
            path.replace(new)
    return True


def _exchange(one: Path, other: Path) -> None:
    system = ctypes.CDLL(None, use_errno=True)
    if system.renameat2(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE):
        raise OSError(ctypes.get_errno(), "the folders cannot be exchanged")


def _worked_in() -> Iterator[Path]:
    """The folders that processes work in, as far as they can be seen."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield (process / "cwd").readlink()
