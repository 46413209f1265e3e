"""What threads do that begin together, and what must not wait for anybody."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PATIENCE = 240


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What some works give that begin together, each in a thread of its own."""
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        gate.wait(PATIENCE)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(PATIENCE) for future in [pool.submit(run, work) for work in works]]


def in_time(work: Callable[[], Any]) -> Any:
    """What work gives that must not wait for anybody."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(PATIENCE / 4)
