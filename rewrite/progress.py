"""Progress bars, which say the stage of a command, the rate and the time that is left."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
_stages: ContextVar[Sequence[str]] = ContextVar("stages", default=())


@contextmanager
def stages(*names: str) -> Iterator[None]:
    """Number the bars of these names inside a `with` block: the second of five says `(2 of 5)`."""
    before = _stages.set(names)
    try:
        yield
    finally:
        _stages.reset(before)


def stage_bar(total: int, name: str, unit: str = "img", *, done: int = 0, shown: bool = True) -> "tqdm[Any]":
    """A progress bar, for a `with` block; it shows nothing of work that takes less than a second.

    Args:
        total: How much there is to do.
        name: The stage.
        unit: What is counted.
        done: How much was done before.
        shown: Whether to show it.
    """
    return tqdm(total=total, initial=done, desc=_numbered(name), unit=unit, delay=1, disable=not shown)


def in_stage(items: Sequence[T], name: str, unit: str, *, shown: bool = True) -> Iterator[T]:
    """The items, with a progress bar. See `stage_bar`."""
    with stage_bar(len(items), name, unit, shown=shown) as bar:
        for item in items:
            yield item
            bar.update()


def _numbered(name: str) -> str:
    names = _stages.get()
    return f"{name} ({names.index(name) + 1} of {len(names)})" if name in names and len(names) > 1 else name


def counted(on_progress: Callable[[float], object] | None, steps: int) -> Callable[[], object] | None:
    """A function that tells the share that is done each time it is called, before each of so many steps."""
    if on_progress is None:
        return None
    done = count()
    return lambda: on_progress(next(done) / steps)
