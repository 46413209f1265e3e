"""Files appear whole or not at all, one or several together, whatever ends the program that writes them.

By hand: the package `atomicwrites` is no longer kept, writes one file, and gives it another mode and owner. A file is
made under a temporary name and renamed. It is locked while its writer lives, so that a later run can tell what a killed
one left. Several files are made in a folder that takes the place of the old one in a single step (`swapped.py`); where
that cannot be, a journal says what is to be renamed, and a later run ends what was begun.
"""

import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from safetensors import SafetensorError

from rewrite.storage import swapped

try:
    import fcntl
except ImportError:  # not on Windows, where an open file cannot be removed anyway
    fcntl = None

MARK = ".rewrite-"
SUFFIX = re.compile(r"\.\w{1,16}")
TEMPORARY = re.compile(rf"{re.escape(MARK)}[0-9a-f]{{16}}({SUFFIX.pattern})?")
JOURNAL = ".journal"
# Files of a group that cannot be swapped: each is held open, and so is each old one.
MOST_HELD = 200
LARGEST_JOURNAL = 2**20


def write_whole(path: str | Path, write: Callable[[Path], object]) -> None:
    """Write a file: `write` gets a temporary path beside it, which is renamed. A half-written file is never seen.

    A link is followed; mode, owner and hard links stay as they were.

    Raises:
        ValueError: There is no place for a file, or the disk is full; the old file is still there.
    """
    with _told(f"cannot write {path}"):
        target = check_place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        settle(target.parent)
        group = _group.get()
        if group is not None:
            group.add(target, write)
            return
        with temporary(target.parent, target.suffix) as made:
            write(made)
            _put(target.parent, {made: target})


@contextmanager
def together() -> Iterator[None]:
    """Put the files that are written inside a `with` block in place at its end: all of them, or none.

    All or none holds for a kill, too, if they are of one folder.

    Raises:
        ValueError: They cannot be put in place; the old files are still there.
    """
    with ExitStack() as stack:
        group = _Group(stack)
        before = _group.set(group)
        try:
            yield
        finally:
            _group.reset(before)
        with _told(f"cannot write {' and '.join(str(target) for target in group.new.values())}"):
            group.put()


def write_together(folder: str | Path, contents: Mapping[str, bytes]) -> None:
    """Write several files into a folder: all of them, or none; 200 at a time where the folder cannot be swapped.

    Raises:
        ValueError: The folder cannot be written to, or the disk is full; the old files are still there.
    """
    if _group.get() is not None:
        for name, content in contents.items():
            write_whole(Path(folder) / name, lambda path, content=content: path.write_bytes(content))
        return
    with _told(f"cannot write into {folder}"):
        there = Path(os.path.realpath(folder))
        targets = {name: check_place(there / name) for name in contents}
        there.parent.mkdir(parents=True, exist_ok=True)
        settle(there.parent)
        if there.exists():
            settle(there)
        if not (swapped.possible(there, targets.values()) and _write_swapped(there, contents)):
            names = list(contents)
            for first in range(0, len(names), MOST_HELD):
                _write_journalled(there, {name: targets[name] for name in names[first : first + MOST_HELD]}, contents)


def check_place(path: str | Path) -> Path:
    """Where a file is to be written: the path itself, or what it links to.

    Raises:
        ValueError: Something is there that is not a file.
    """
    target = Path(os.path.realpath(path))
    with suppress(FileNotFoundError, NotADirectoryError):
        kind = target.stat().st_mode
        if stat.S_ISDIR(kind):
            raise ValueError(f"cannot write {path}: it is a folder")
        if not stat.S_ISREG(kind):
            raise ValueError(f"cannot write {path}: it is not a file, but a pipe, a socket or a device")
    return target


def is_temporary(path: Path) -> bool:
    """Whether a file is one that is being written, or that a killed run left."""
    return path.name.startswith(MARK)


def settle(folder: Path) -> None:
    """End what killed runs began in a folder: groups of files are put in place, temporary files are taken away."""
    try:
        found = [each for each in folder.iterdir() if TEMPORARY.fullmatch(each.name)]
    except OSError:
        return
    for path in sorted(found, key=lambda each: each.suffix != JOURNAL):
        with suppress(OSError), held(path) as free:
            if free and path.suffix == JOURNAL:
                _finish(path)
            elif free:
                _remove(path)


@contextmanager
def temporary(folder: Path, suffix: str = "", *, directory: bool = False) -> Iterator[Path]:
    """An empty file or folder of a temporary name, taken away at the end; its permissions are those of any new one."""
    # Not by `tempfile`, whose files are closed to others: the mask that would open them can be read only by setting it,
    # for all threads at once.
    with ExitStack() as stack:
        while True:
            path = folder / f"{MARK}{secrets.token_hex(8)}{suffix if SUFFIX.fullmatch(suffix) else ''}"
            path.mkdir() if directory else path.touch(exist_ok=False)
            stack.callback(_remove, path)
            with suppress(FileNotFoundError):
                # Another run may have taken it for one that was left.
                if stack.enter_context(held(path)) is not False and path.exists():
                    break
        yield path


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def held(path: Path) -> Iterator[bool | None]:
    """Hold a file or folder inside a `with` block; whether no other process did, or None where that cannot be known."""
    if fcntl is None:
        yield None
        return
    opened, free = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), None
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free = True
            except BlockingIOError:
                free = False
        yield free
    finally:
        os.close(opened)


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{what}: {getattr(error, 'strerror', None) or error}") from None


# Several files


class _Group:
    """Files that are made and not yet in place.

    Attributes:
        new: Where each is to go.
    """

    def __init__(self, stack: ExitStack):
        self.new: dict[Path, Path] = {}
        self._stack = stack

    def add(self, target: Path, write: Callable[[Path], object]) -> None:
        made = self._stack.enter_context(temporary(target.parent, target.suffix))
        write(made)
        self.new[made] = target

    def put(self) -> None:
        """Put all files in place, in one step if they are of one folder that can be swapped."""
        if not self.new:
            return
        for folder in {target.parent.parent for target in self.new.values()}:
            settle(folder)  # where a killed run had made what was to take the place of a folder
        folder = next(iter(self.new.values()), Path()).parent
        if len(self.new) > 1 and swapped.possible(folder, self.new.values()):
            with temporary(folder.parent, directory=True) as staged:
                moved = {made: staged / target.name for made, target in self.new.items()}
                for made, place in moved.items():
                    made.rename(place)
                    _like(place, self.new[made])
                if swapped.put(staged, folder, {place.name for place in moved.values()}):
                    return
                for made, place in moved.items():
                    place.rename(made)
        _put(folder, self.new)


_group: ContextVar[_Group | None] = ContextVar("group", default=None)


def _write_swapped(folder: Path, contents: Mapping[str, bytes]) -> bool:
    with temporary(folder.parent, directory=True) as made:
        for name, content in contents.items():
            (made / name).write_bytes(content)
            _like(made / name, folder / name)
        return swapped.put(made, folder, contents)


def _write_journalled(folder: Path, targets: Mapping[str, Path], contents: Mapping[str, bytes]) -> None:
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            new = {stack.enter_context(temporary(target.parent)): target for target in targets.values()}
            for path, name in zip(new, targets, strict=True):
                path.write_bytes(contents[name])
            _put(folder, new)
        made = False
    finally:
        if made:
            with suppress(OSError):
                folder.rmdir()


def _put(folder: Path, new: Mapping[Path, Path]) -> None:
    """Put new files in place; where that fails on the way, each place gets back what it held before."""
    inside = [path for path, target in new.items() if not _like(path, target)]
    if len(new) == 1 and not inside:
        for path, target in new.items():
            path.replace(target)
        return
    with ExitStack() as stack:
        old = {target: stack.enter_context(_copy(target)) for target in new.values() if target.exists()}
        if all(path.parent == folder == target.parent for path, target in new.items()):
            names = {path.name: target.name for path, target in new.items()}
            # The end of the line says that it is whole.
            stack.enter_context(temporary(folder, JOURNAL)).write_text(f"{json.dumps(names)}\n", encoding="utf-8")
        with ExitStack() as restoring:
            for path, target in new.items():
                if target in old:
                    restoring.callback(_move, old[target], target, path in inside)
                else:
                    restoring.callback(target.unlink, missing_ok=True)
                _move(path, target, path in inside)
            restoring.pop_all()


@contextmanager
def _copy(path: Path) -> Iterator[Path]:
    with temporary(path.parent) as kept:
        shutil.copy2(path, kept)
        yield kept


def _like(path: Path, target: Path) -> bool:
    """Give a new file mode and owner of the old one; whether it may take its place.

    It may not where other names of the old file would keep the old content, or where its owner cannot be given.
    """
    try:
        old = target.stat()
    except OSError:
        return True
    shutil.copystat(target, path)
    os.utime(path)
    if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (path.stat().st_uid, path.stat().st_gid):
        try:
            os.chown(path, old.st_uid, old.st_gid)
        except PermissionError:
            return False
    return old.st_nlink == 1


def _move(path: Path, target: Path, inside: bool) -> None:
    """Put a file in place of another, or only its content."""
    if not inside:
        path.replace(target)
        return
    size, before = path.stat().st_size, target.stat().st_size
    with path.open("rb") as source, target.open("r+b") as into:
        if size > before and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(into.fileno(), 0, size)
            except OSError:
                into.truncate(before)
                raise
        shutil.copyfileobj(source, into)
        into.truncate(size)


# The journal


def _finish(journal: Path) -> None:
    """Put in place what a killed run had ready. A folder may be a stranger's: no name leads out of it."""
    places = _read_journal(journal)
    for name, target in places.items():
        path, place = journal.parent / name, journal.parent / target
        if path.is_file() and not path.is_symlink() and not place.is_symlink():
            with suppress(OSError):
                _move(path, place, not _like(path, place))
    journal.unlink(missing_ok=True)


def _read_journal(path: Path) -> dict[str, str]:
    """What a journal says; nothing where it is no whole journal."""
    if path.stat().st_size > LARGEST_JOURNAL:
        return {}
    text = path.read_bytes()
    try:
        places = json.loads(text) if text.endswith(b"\n") else {}
    except (ValueError, RecursionError):
        return {}
    plain = isinstance(places, dict) and all(
        isinstance(target, str) and TEMPORARY.fullmatch(name) and target not in ("", ".", "..") and "/" not in target
        for name, target in places.items()
    )
    return places if plain else {}
