"""What work takes of the processor, on one thread: other programs of the machine count for little there."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from dissect.units.upsampling import one_thread
from rewrite.threads import one_blas_thread

# On a busy machine one step may take longer than a few.
TRIES = 5


def seconds(work: Callable[[], object]) -> float:
    """Seconds of the processor that some work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def scaled_up(run: Callable[[int], object], few: int, steps: int) -> float:
    """Seconds that many equal steps would take, from those of one step and of a few.

    Args:
        run: Runs so many steps, and what comes before them.
        few: How many are timed; two or more.
        steps: How many are asked about.

    Raises:
        ValueError: A few steps took no longer than one, time after time.
    """
    for _ in range(TRIES):
        first, more = (seconds(lambda count=count: run(count)) for count in (1, few))
        if more > first:
            return first + (more - first) / (few - 1) * (steps - 1)
    raise ValueError(f"{few} steps take no longer than one here: the machine is too busy to time them")


@contextmanager
def alone() -> Iterator[None]:
    """One thread inside a `with` block, and nothing to be imported or set up in the midst of a measurement."""
    with one_thread(), one_blas_thread():
        # The first optimiser of a process imports much, which is no method's cost.
        torch.optim.Adam([torch.zeros(1, requires_grad=True)])
        yield
