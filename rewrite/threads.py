"""Limits on threads, some of which belong to the whole process and so to every thread that works in it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


class _OneBlasThread:
    """The limit of the process: the first to enter sets it and the last to leave lifts it.

    If each set and lifted its own, those that end in another order than they began in would leave the process on one
    thread. threadpoolctl lets only one thread change such a limit, as long as that thread lives: one of its own, here.
    """

    def __init__(self):
        self._lock, self._inside = threading.Lock(), 0

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._thread = ThreadPoolExecutor(1)
                self._limits = self._thread.submit(threadpool_limits, limits=1, user_api="blas").result()
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._thread.submit(self._limits.restore_original_limits).result()
                self._thread.shutdown()


_process = _OneBlasThread()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread inside a `with` block, in any number of threads at once."""
    _process.enter()
    try:
        # Some libraries have a limit for each thread instead: with them, this one counts.
        with threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        _process.leave()
