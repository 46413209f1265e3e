"""Processes of this machine as an executor in which a lost one takes only its own task with it."""

import os
import pickle
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any

LOST = "a worker was ended from outside"


class Processes(Executor):
    """Some processes; each starts with its first task, and again with the next one where it was lost.

    Python's own `ProcessPoolExecutor` ends all of them with one.

    Args:
        count: How many.

    Raises:
        ValueError: There is none.
    """

    def __init__(self, count: int):
        if count < 1:
            raise ValueError(f"images need at least one worker, got {count}")
        self._max_workers = count
        self._tasks: queue.SimpleQueue[tuple[Future, bytes] | None] = queue.SimpleQueue()
        self._processes: list[_Process | None] = [None] * count
        self._ended = False
        self._threads = [threading.Thread(target=self._serve, args=(i,), daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Have a function of a module called by one of the processes.

        Raises:
            RuntimeError: They were ended.
        """
        if self._ended:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future = Future()
        self._tasks.put((future, pickle.dumps((fn, args, kwargs), pickle.HIGHEST_PROTOCOL)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all processes: at once with `cancel_futures`, or when all tasks are done."""
        self._ended = True
        if cancel_futures:
            while not self._tasks.empty():
                left = self._tasks.get()
                if left is not None:
                    left[0].cancel()
            for process in self._processes:
                if process is not None:
                    process.end()
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _serve(self, place: int) -> None:
        """Give one process after another its tasks, one at a time."""
        while (task := self._tasks.get()) is not None:
            future, call = task
            if future.set_running_or_notify_cancel():
                process = self._processes[place] = self._processes[place] or _Process(self._max_workers)
                try:
                    done, found = process.do(call)
                except (EOFError, OSError):
                    self._processes[place] = None
                    process.end()
                    future.set_exception(ChildProcessError(LOST))
                else:
                    (future.set_result if done else future.set_exception)(found)
        if (last := self._processes[place]) is not None:
            last.end()


class _Process:
    """One process, at the other end of a pipe."""

    def __init__(self, beside: int):
        context = get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, beside), daemon=True)
        self.process.start()
        # Where no other process holds this end, reading from the other ends with the process.
        other.close()

    def do(self, call: bytes) -> tuple[bool, Any]:
        """Whether a call gave something, and that; or what it raised."""
        self.pipe.send_bytes(call)
        return pickle.loads(self.pipe.recv_bytes())

    def end(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.join()


def _serve(pipe: Connection, beside: int) -> None:
    """The life of one process: it ends with its parent, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // beside))
    while True:
        try:
            function, args, kwargs = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        try:
            answer = pickle.dumps((True, function(*args, **kwargs)), pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # whatever a task raises is the caller's to tell
            answer = pickle.dumps((False, error))
        pipe.send_bytes(answer)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
