"""Processes that each do a share of a long piece of work."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from typing import Any

SECONDS_BETWEEN_LOOKS = 0.2


def in_workers(work: Callable[..., Any], tasks: Sequence[tuple], look: Callable[[], None]) -> None:
    """Run a function in a process of its own for each task, and wait for all.

    Args:
        work: A function of a module, which every process imports anew.
        tasks: Its arguments, once for each process.
        look: Called now and then while they run.

    Raises:
        Exception: What the first that failed raised.
        ChildProcessError: A process was ended from outside.
    """
    context = get_context("spawn")
    workers: list[_Worker] = []
    try:
        for task in tasks:
            workers.append(_Worker(context, work, len(tasks), task))
        while any([worker.busy() for worker in workers]):
            time.sleep(SECONDS_BETWEEN_LOOKS)
            look()
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """One process, and what it says at its end: nothing, or what it raised."""

    def __init__(self, context: SpawnContext, work: Callable[..., Any], workers: int, task: tuple):
        self.last_words, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_alone, args=(sender, work, workers, task), daemon=True)
        self.process.start()
        # Where no other process holds this end, reading from the other ends with the process.
        sender.close()
        self.done = False

    def busy(self) -> bool:
        """Whether it still works.

        Raises:
            ChildProcessError: It was ended from outside.
            Exception: What it raised.
        """
        if not self.done and self.last_words.poll():
            try:
                complaint = self.last_words.recv()
            except EOFError:
                raise ChildProcessError("a worker was ended from outside; what is counted so far is kept") from None
            if complaint is not None:
                raise complaint
            self.done = True
        return not self.done

    def end(self) -> None:
        """End it if it has not ended."""
        if not self.done:
            self.process.terminate()
        self.process.join()


def _alone(sender: Connection, work: Callable[..., Any], workers: int, task: tuple) -> None:
    """The life of one process: it ends with its parent, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    try:
        work(*task)
    except Exception as error:  # whatever the work raises is the parent's to tell
        sender.send(error)
    else:
        sender.send(None)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
