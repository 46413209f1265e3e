"""A thread-safe cache of the most recently used items, each made once."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import is_dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

T = TypeVar("T")
MOST = 12


class Cache(Generic[T]):
    """The most recently used items. One that is there is returned at once, even while another is being made.

    Attributes:
        most: How many are kept.
        bytes: How many bytes of tensors they may hold together; the one that was used last is kept in any case.
        making: A lock to hold while an item is made in steps between which the lock of its model is lent to others.
    """

    def __init__(self, most: int = MOST, bytes: float = math.inf):
        self.most, self.bytes, self._lock = most, bytes, threading.Lock()
        self._kept, self._held = OrderedDict[Hashable, T](), dict[Hashable, int]()
        self.making = threading.RLock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def items(self) -> list[T]:
        """All items that are kept."""
        with self._lock:
            return list(self._kept.values())

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
                self.keep(key, found)
        return found

    def keep(self, key: Hashable, thing: T) -> None:
        """Keep an item, and drop those that were used longest ago beyond what may be kept."""
        size = bytes_of(thing)
        with self._lock:
            self._kept[key], self._held[key] = thing, size
            self._kept.move_to_end(key)
            while len(self._kept) > self.most or (len(self._kept) > 1 and sum(self._held.values()) > self.bytes):
                oldest, _ = self._kept.popitem(last=False)
                del self._held[oldest]


def bytes_of(thing: Any) -> int:
    """The bytes of the tensors in nested tuples, lists, dictionaries and dataclasses, as they lie in memory."""
    if isinstance(thing, Tensor):
        return thing.untyped_storage().nbytes()
    if is_dataclass(thing):
        thing = vars(thing)
    if isinstance(thing, dict):
        thing = thing.values()
    elif not isinstance(thing, tuple | list):
        return 0
    return sum(map(bytes_of, thing))
