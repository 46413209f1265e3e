"""Work on many images in batches that fit in the memory there is."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

Result = TypeVar("Result")
# How torch's allocators say it that have no exception of their own: the CPU's, and Apple's.
RAN_OUT = ("can't allocate memory", "not enough memory", "out of memory")


def batched(items: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """Cut a sequence into tuples of at most `size` items."""
    part: list[int] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield tuple(part)
            part = []
    if part:
        yield tuple(part)


def in_batches(
    items: Iterable[int], size: int, work: Callable[[tuple[int, ...]], Result]
) -> Iterator[tuple[tuple[int, ...], Result]]:
    """Do some work on batches of items. Where memory runs out, that batch and all later ones are halved.

    Args:
        items: Such as seeds.
        size: The most items of a batch.
        work: What is done with a batch. It is called again for a part of a batch that did not fit, so that it must
            leave nothing behind when it fails.

    Yields:
        Each batch, and what the work gave for it.

    Raises:
        MemoryError: Not even one item fits.
    """
    items, start = tuple(items), 0
    while start < len(items):
        part = items[start : start + size]
        result = _unless_full(work, part)
        if result is None:
            size = len(part) // 2
            _release()
        else:
            yield part, result[0]
            start += len(part)


def _unless_full(work: Callable[[tuple[int, ...]], Result], part: tuple[int, ...]) -> tuple[Result] | None:
    """What the work gives for a batch; None where it does not fit. The error, which holds its tensors, ends here."""
    try:
        return (work(part),)
    except RuntimeError as error:
        if not ran_out(error):
            raise
        if len(part) == 1:
            said = str(error).partition("\n")[0]
            raise MemoryError(f"one image alone needs more memory than there is: {said}") from None
        return None


def ran_out(error: RuntimeError) -> bool:
    """Whether an error says that there is no more memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in RAN_OUT)


def _release() -> None:
    """Give back what torch's allocators keep for later."""
    torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
