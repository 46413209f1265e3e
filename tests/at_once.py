"""What threads do that begin together, and what must not wait for anybody."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.editing import (  # noqa: F401 - fixtures
    WHOLE,
    begun,
    box,
    brushed,
    find,
    models,
    new_models,
    new_session,
    options,
    rewrite,
    session,
    shared_models,
)

PATIENCE = 240


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


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
