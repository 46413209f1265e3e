"""Disks that fail: what a process changes on them is counted, slowed down, refused, or the moment of its death.

Every change that Python makes to files raises an audit event before it is made: opening a file to write, and renaming,
linking, removing, making a folder. Writing itself raises none: for that there are disks that are full, as small file
systems in memory.
"""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGING = {
    *("os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir"),
    *("os.chmod", "os.chown", "os.utime", "os.truncate"),
}
OWN_MOUNTS = "REWRITE_TESTS_OWN_MOUNTS"
# What a disk may answer to the wish to change something; of the first two, only to what takes room.
ERRORS = {"full": errno.ENOSPC, "quota": errno.EDQUOT, "read-only": errno.EROFS, "broken": errno.EIO}
TAKING_ROOM = ("open", "os.mkdir", "os.link", "os.symlink")


def at_changes(place: Path, act: Callable[[int, str], object]) -> None:
    """From now on, call a function before every change in a place, with how many came before and what it is."""
    number, inside = 0, str(place)

    def hook(event: str, arguments: tuple) -> None:
        nonlocal number
        changing = bool(arguments[2] & WRITING) if event == "open" else event in CHANGING
        if changing and isinstance(arguments[0], str | os.PathLike) and os.fspath(arguments[0]).startswith(inside):
            number += 1
            act(number - 1, event)

    sys.addaudithook(hook)


def counted(place: Path, into: Path) -> None:
    """Note each change in a place as one byte of a file."""
    opened = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    at_changes(place, lambda *_: os.write(opened, b"."))


def killed_at(place: Path, moment: int) -> None:
    """Die before the change of that number."""
    at_changes(place, lambda number, _: os.kill(os.getpid(), signal.SIGKILL) if number == moment else None)


def failing_from(place: Path, moment: int, error: int) -> None:
    """Refuse every change from that number on."""

    def refuse(number: int, event: str) -> None:
        if number >= moment and (event in TAKING_ROOM or error not in (errno.ENOSPC, errno.EDQUOT)):
            raise OSError(error, os.strerror(error))

    at_changes(place, refuse)


def slowed(place: Path, seconds: float) -> None:
    """Let every change take longer."""
    at_changes(place, lambda *_: time.sleep(seconds))


def limited(most: int) -> None:
    """Let no file grow beyond so many bytes: a quota of the process, whose writes fail in the middle."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def with_own_mounts() -> None:
    """Run this program again where it may mount disks that nobody else sees, if that can be."""
    if OWN_MOUNTS in os.environ:
        return
    os.environ[OWN_MOUNTS] = "1"
    command = ["unshare", "--mount", "--map-root-user"]
    try:
        able = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        able = False
    if able:
        os.execvp(command[0], [*command, sys.executable, *sys.orig_argv[1:]])
    sys.stderr.write("no disks can be mounted here: full and read-only ones are not tried\n")
    os.environ[OWN_MOUNTS] = ""


def can_mount() -> bool:
    """Whether `with_own_mounts` found a way."""
    return bool(os.environ.get(OWN_MOUNTS))


@contextmanager
def mounted(place: Path, most: int) -> Iterator[None]:
    """A disk of so many bytes at a place, inside a `with` block."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={most}", "none", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def remount(place: Path, how: str) -> None:
    """Change a mounted disk: `ro`, `rw`, `size=N`."""
    subprocess.run(["mount", "-o", f"remount,{how}", "none", place], check=True)
