"""Sharing work among workers: shards go out, what they find comes back in order, and lost ones go out again.

What is found is joined in the order of the shards, which are those of one process, so that it is the same to the byte.
"""

import contextlib
import pickle
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from rewrite.generators.batches import batched, in_batches
from rewrite.shards.work import Parcel, Work, packed
from rewrite.shards.worker import FOUND, LACKS
from rewrite.storage.quoting import reason_of

# A shard whose worker was lost so often may be what ends workers.
ATTEMPTS = 3
SECONDS_BETWEEN_LOOKS = 0.5

Shard = tuple[int, ...]


class Crew(ABC):
    """Workers of some kind.

    Attributes:
        size: How many there are now.
    """

    def __init__(self) -> None:
        self._parcels: dict[int, tuple[Work, Parcel, bytes]] = {}

    @property
    @abstractmethod
    def size(self) -> int:
        """How many workers there are now."""

    @abstractmethod
    def carry(self, parcel: Parcel, content: bytes) -> Parcel:
        """Bring the bytes of a subject to all workers, once more where that was done before.

        Returns:
            What is to be told to them.
        """

    @abstractmethod
    def submit(self, parcel: Parcel, task: bytes, shard: Shard) -> "Future[bytes]":
        """Have `worker.do` called by one of them."""

    def forgotten(self, future: "Future[bytes]") -> bool:
        """Whether nobody works on what was submitted any more, and nobody will say so."""
        return False

    def in_order(self, work: Work, shards: Iterable[Shard]) -> Generator[tuple[Shard, Any], None, None]:
        """What is found of each shard, in order. There are never many more in work than workers.

        Raises:
            ChildProcessError: A shard was lost with its worker again and again.
            Exception: What the work raised.
        """
        task = pickle.dumps((work.function, work.given), pickle.HIGHEST_PROTOCOL)
        waiting, out = iter(shards), deque[_Out]()
        try:
            while True:
                while len(out) < 2 * self.size + 1 and (shard := next(waiting, None)) is not None:
                    out.append(_Out(self, work, task, shard))
                if not out:
                    return
                for each in out:
                    each.look()
                if out[0].done:
                    yield out[0].shard, out.popleft().found
                else:
                    out[0].wait(SECONDS_BETWEEN_LOOKS)
        finally:
            for each in out:
                each.future.cancel()

    def parcel(self, work: Work, *, again: bool = False) -> Parcel:
        """What workers are told of the subject of some work, whose bytes are brought to them the first time."""
        known = self._parcels.get(id(work.subject))
        if known is None:
            parcel, content = packed(work)
        elif again:
            _, parcel, content = known
        else:
            return known[1]
        parcel = self.carry(parcel, content)
        # The work is kept too, so that no other subject can get its number.
        self._parcels[id(work.subject)] = work, parcel, content
        return parcel


class _Out:
    """A shard that is out: with whom, and how often it was lost."""

    def __init__(self, crew: Crew, work: Work, task: bytes, shard: Shard):
        self.crew, self.work, self.task, self.shard = crew, work, task, shard
        self.losses, self.done, self.found = 0, False, None
        self._send(crew.parcel(work))

    def _send(self, parcel: Parcel) -> None:
        try:
            self.future = self.crew.submit(parcel, self.task, self.shard)
        except (OSError, RuntimeError) as error:  # the way to the workers is lost, or an executor ended
            self.future = Future()
            self.future.set_exception(error)

    def wait(self, seconds: float) -> None:
        """Wait until it is back, or lost, or some time is over."""
        with contextlib.suppress(Exception):
            self.future.exception(timeout=seconds)

    def look(self) -> None:
        """Take what has come back; send it out again if it is lost.

        Raises:
            ChildProcessError: It was lost too often.
            Exception: What the work raised.
        """
        if self.done:
            return
        if not self.future.done():
            if self.crew.forgotten(self.future):
                self._lost(ConnectionError("the scheduler that had it is gone"))
            return
        try:
            how, found = pickle.loads(self.future.result())
        except Exception as error:  # `do` raises nothing: this is about the worker
            self._lost(error)
            return
        if how == FOUND:
            self.done, self.found = True, found
        elif how == LACKS:
            self._lost(ChildProcessError("the worker does not have the model"), carry=True)
        else:
            raise found

    def _lost(self, error: BaseException, *, carry: bool = False) -> None:
        if isinstance(error, ImportError | AttributeError):
            raise ChildProcessError(f"a worker does not have this library as it is here: {error}") from error
        self.losses += 1
        if self.losses >= ATTEMPTS:
            said = reason_of(error) if isinstance(error, Exception) and str(error) else type(error).__name__
            raise ChildProcessError(
                f"the images {self.shard[0]} to {self.shard[-1]} were lost {ATTEMPTS} times with their worker: {said}"
            ) from error
        self._send(self.crew.parcel(self.work, again=carry))


# Who shares the work now; see `share_among`.
present: ContextVar[Crew | None] = ContextVar("crew", default=None)


def crew_size() -> int:
    """How many workers share long work now; one where none do."""
    crew = present.get()
    return 1 if crew is None else max(1, crew.size)


def each_done(measure: Callable[[Shard], Any], shards: Iterable[Shard]) -> Iterator[tuple[Shard, Any]]:
    """What is found of each shard, in order: by the workers if there are any and the work can travel, or else here."""
    crew = present.get()
    if crew is None or not isinstance(measure, Work):
        yield from ((shard, measure(shard)) for shard in shards)
    else:
        with closing(crew.in_order(measure, shards)) as found:
            yield from found


def batches_done(work: Work, numbers: Iterable[int], size: int) -> Iterator[tuple[Shard, Any]]:
    """What is found of batches of images, in order. Where memory runs out, that batch and later ones are halved.

    Args:
        work: What is done with a batch; see `in_batches`.
        numbers: The images.
        size: The most images of a batch.

    Yields:
        Each batch, and what the work gave for it.
    """
    if present.get() is None:
        yield from in_batches(numbers, size, work)
        return
    fitting = replace(work, function=as_they_fit, given=(work.function, *work.given))
    for _, found in each_done(fitting, batched(numbers, size)):
        yield from found


def as_they_fit(
    subject: Any, numbers: Shard, function: Callable[..., Any], *given: Any
) -> list[tuple[tuple[int, ...], Any]]:
    """What a worker finds of a batch: of the whole of it, or of parts that fit in its memory."""
    return list(in_batches(numbers, len(numbers), lambda some: function(subject, some, *given)))
