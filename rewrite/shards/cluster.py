"""The workers of a Dask cluster: those of a scheduler now, and those that come and go while the work is done.

This module needs Dask; it is imported where a scheduler is named.
"""

import logging
import sys
import time
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Client, Worker
from distributed.diagnostics.plugin import WorkerPlugin
from tqdm import tqdm

from rewrite.shards import worker as ours
from rewrite.shards.crew import Crew, Shard
from rewrite.shards.work import Parcel

# How long a scheduler may take to answer at first, and how long one that is gone is waited for.
SECONDS_TO_CONNECT, SECONDS_TO_COME_BACK = 10.0, 300.0
SECONDS_BETWEEN_COUNTS = 2.0


def connect(address: str) -> Client:
    """A client of a scheduler.

    Args:
        address: Such as `tcp://login1:8786`.

    Raises:
        ValueError: No scheduler answers there.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what it would say, the program says
    try:
        return Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError, RuntimeError):
        raise ValueError(
            f"no scheduler answers at {address} within {SECONDS_TO_CONNECT:g} s: start one with dask scheduler, and "
            "name the address that it says"
        ) from None


class Cluster(Crew):
    """The workers of a scheduler."""

    def __init__(self, client: Client):
        super().__init__()
        scheduler: Any = client.scheduler
        self.client, self.address, self._given = client, str(scheduler.address), client
        self._size, self._counted = 0, -SECONDS_BETWEEN_COUNTS
        self._scheduler, self._sent = "", WeakKeyDictionary[Future, str]()
        self._executor: Executor = client.get_executor(pure=False)
        if not self.size:
            _say(f"no worker has come to {self.address} yet: waiting for one")

    @property
    def size(self) -> int:
        if time.monotonic() - self._counted > SECONDS_BETWEEN_COUNTS:
            with suppress(OSError):  # it is the next shard that finds the scheduler gone
                cores: Any = self.client.ncores()
                self._size, self._scheduler = len(cores), self.client.scheduler_info()["id"]
            self._counted = time.monotonic()
        return self._size

    def carry(self, parcel: Parcel, content: bytes) -> Parcel:
        # Workers that come later are given it as they come, before any shard.
        self._present().register_plugin(_Subject(parcel.key, content), name=_name(parcel.key))
        return parcel

    def submit(self, parcel: Parcel, task: bytes, shard: Shard) -> "Future[bytes]":
        self._present()
        future = self._executor.submit(ours.do, parcel, task, shard)
        self._sent[future] = self._scheduler
        return future

    def forgotten(self, future: "Future[bytes]") -> bool:
        # What is on its way to a scheduler as that ends can be lost without a word: the client tells only of what it
        # holds at that moment. One that has come back has another name.
        return self._sent.get(future, self._scheduler) != self._scheduler

    def close(self) -> None:
        """Take the subjects from the workers."""
        with suppress(Exception):  # a scheduler that is gone has nothing to take away
            if self.client.status == "running":
                for _, parcel, _ in self._parcels.values():
                    self.client.unregister_worker_plugin(_name(parcel.key))
        if self.client is not self._given:
            self.client.close()

    def _present(self) -> Client:
        """The client, once its scheduler answers.

        Raises:
            ConnectionError: It does not, for minutes.
        """
        if self.client.status == "running":
            return self.client
        _say(f"the scheduler {self.address} is gone: waiting for it to come back")
        until = time.monotonic() + SECONDS_TO_COME_BACK
        while self.client.status != "running":
            if time.monotonic() > until:
                raise ConnectionError(f"the scheduler {self.address} has not come back in {SECONDS_TO_COME_BACK:g} s")
            time.sleep(0.2)
            if self.client.status == "closed":
                with suppress(ValueError):
                    self.client = connect(self.address)
        self._executor = self.client.get_executor(pure=False)
        self._scheduler = self.client.scheduler_info()["id"]
        for _, parcel, content in self._parcels.values():
            self.client.register_plugin(_Subject(parcel.key, content), name=_name(parcel.key))
        return self.client


class _Subject(WorkerPlugin):
    """The bytes of a subject on their way to a worker."""

    def __init__(self, key: str, content: bytes):
        self.key, self.content = key, content

    def setup(self, worker: Worker) -> None:
        ours.kept[self.key], self.content = self.content, b""

    def teardown(self, worker: Worker) -> None:
        ours.forget(self.key)


def _name(key: str) -> str:
    return f"model-rewriting-{key}"


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)  # above the bar, if there is one
