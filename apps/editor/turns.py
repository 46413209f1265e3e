"""The lock of a generator: long work lends it to those who wait."""

import threading


class Turns:
    """A lock that a thread may take several times, and may lend in between to one of the threads that wait for it.

    Attributes:
        waiting: Number of threads that wait.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owner: int | None = None
        self.waiting = self._depth = self._taken = 0

    @property
    def mine(self) -> bool:
        """Whether this thread holds the lock."""
        return self._owner == threading.get_ident()

    def __enter__(self) -> "Turns":
        with self._changed:
            if not self.mine:
                self._take(self._taken - 1)
            self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._depth -= 1
            if self._depth == 0:
                self._free()

    def lend(self) -> None:
        """Let one of those who wait have its turn now, if any does; the thread must hold the lock."""
        with self._changed:
            if self.waiting:
                depth, self._depth, taken = self._depth, 0, self._taken
                self._free()
                self._take(taken)
                self._depth = depth

    def _free(self) -> None:
        self._owner = None
        self._changed.notify_all()

    def _take(self, after: int) -> None:
        """Take the lock once it is free and was taken more than `after` times."""
        self.waiting += 1
        self._changed.wait_for(lambda: self._owner is None and self._taken > after)
        self.waiting -= 1
        self._taken += 1
        self._owner = threading.get_ident()
