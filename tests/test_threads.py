"""Limits on threads while several of them work."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from rewrite import measure
from rewrite.threads import one_blas_thread

PATIENCE = 60


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def in_another_thread(work: Callable[[], Any]) -> Any:
    """What some work gives; the thread ends, so that others may set limits."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@pytest.fixture
def two_threads():
    """BLAS on two threads, whatever the machine has."""
    limits = in_another_thread(lambda: threadpool_limits(2, "blas"))
    assert blas_threads() == {2}
    yield
    in_another_thread(limits.restore_original_limits)


def test_two_measurements_at_once_leave_blas_on_as_many_threads_as_before(plain_generator, two_threads):
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def first() -> None:
        def wait(count: int) -> None:
            first_is_in.set()
            assert second_is_in.wait(PATIENCE)

        measure(plain_generator, "conv", 2, on_progress=wait)
        first_is_out.set()

    def second() -> None:
        def wait(count: int) -> None:
            second_is_in.set()
            assert first_is_out.wait(PATIENCE)
            seen.append(blas_threads())

        assert first_is_in.wait(PATIENCE)
        measure(plain_generator, "conv", 2, on_progress=wait)

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [{1}]
    assert blas_threads() == {2}


def fail() -> None:
    raise RuntimeError(blas_threads())


def test_an_error_lifts_the_limit(two_threads):
    with pytest.raises(RuntimeError, match=r"\{1\}"), one_blas_thread():
        fail()
    assert blas_threads() == {2}
