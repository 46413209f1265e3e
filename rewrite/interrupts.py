"""Ctrl-C at a moment that suits, and as what it is: sums that are half changed are no sums of anything."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

GOES_ON = "what was counted is in {}: the same command goes on from there"

Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def held_off() -> Iterator[None]:
    """Let Ctrl-C wait for the end of a `with` block; a second one ends it at once."""
    came: list[tuple[int, FrameType | None]] = []

    def wait(before: Handler, number: int, frame: FrameType | None) -> None:
        if came:
            before(number, frame)
        came.append((number, frame))

    with _handled(wait):
        yield
    before = signal.getsignal(signal.SIGINT)
    if came and callable(before):
        before(*came[0])


@contextmanager
def raised_as_such() -> Iterator[None]:
    """Raise KeyboardInterrupt where Ctrl-C came inside a `with` block and a library made another error of it."""
    came: list[int] = []

    def note(before: Handler, number: int, frame: FrameType | None) -> None:
        came.append(number)
        before(number, frame)

    try:
        with _handled(note):
            yield
    except Exception as error:
        if came:
            raise KeyboardInterrupt from error
        raise


@contextmanager
def goes_on_from(*paths: Path) -> Iterator[None]:
    """Say, where the user ends a `with` block, that the same command goes on from files, as far as they are there."""
    try:
        with raised_as_such():
            yield
    except KeyboardInterrupt as error:
        found = [str(path) for path in paths if path.exists()]
        if error.args or not found:
            raise
        raise KeyboardInterrupt(GOES_ON.format(" and ".join(found))) from None


@contextmanager
def _handled(handle: Callable[[Handler, int, FrameType | None], None]) -> Iterator[None]:
    """Handle Ctrl-C inside a `with` block; `handle` gets the handler of before, too."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # Ctrl-C comes to the main thread alone, or is ignored
        return
    signal.signal(signal.SIGINT, lambda number, frame: handle(before, number, frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
