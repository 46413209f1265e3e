"""A thread-safe cache of the most recently used items, each made once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

T = TypeVar("T")
MOST = 12


class Cache(Generic[T]):
    """The most recently used items. One that is there is returned at once, even while another is being made.

    Attributes:
        most: How many are kept.
        making: A lock to hold while an item is made in steps between which the lock of its model is lent to others.
    """

    def __init__(self, most: int = MOST):
        self.most, self._kept, self._lock = most, OrderedDict[Hashable, T](), threading.Lock()
        self.making = threading.RLock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def find(self, key: Hashable) -> T | None:
        """The item of a key, or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def get(self, key: Hashable, make: Callable[[], T], lock: AbstractContextManager | None = None) -> T:
        """The item of a key, made now if it is not there.

        Args:
            key: The key.
            make: Makes the item.
            lock: Held while it is made, so that a thread that waits for the lock finds the item afterwards.
        """
        found = self.find(key)
        if found is None:
            with lock or nullcontext():
                found = self.find(key)
                found = make() if found is None else found
                self._keep(key, found)
        return found

    def _keep(self, key: Hashable, thing: T) -> None:
        with self._lock:
            self._kept[key] = thing
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
