"""Work that the workers of a Dask scheduler share: a real one with processes of its own, which come and go."""

import os
import socket
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import closing
from importlib import import_module
from multiprocessing.process import BaseProcess

import pytest
import torch

from apps.cli import main
from rewrite.shards import cluster
from rewrite.shards.cluster import connect
from rewrite.shards.crew import present
from rewrite.shards.sharing import share_among
from tests.long_work import begun, over, summed
from tests.started import FORKS, ROOT
from tests.test_cli import LAYER

pytestmark = pytest.mark.usefixtures("cache")
UNITS = ("--layer", "b8.conv1", "--samples", "70", "--level-samples", "16")
EFFECTS = ("--layer", "b8.conv1", "--concepts", "roof", "--samples", "2", "--training", "4", "--screen", "1")
ROLES = ("--layer", "relu5", "--training", "2", "--test", "2")


class Grid:
    """A scheduler and workers, each a process that is forked from one that has imported the program."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address, self.workers = f"tcp://127.0.0.1:{self.port}", []
        self.schedule()

    def schedule(self) -> None:
        """Start the scheduler."""
        self.scheduler = self._run("scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def answers(self) -> bool:
        """Whether the scheduler can be reached."""
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", self.port)) == 0

    def work(self) -> int:
        """Start a worker, and give the number of its process."""
        self.workers.append(self._run("worker", self.address, "--no-nanny", "--nthreads", "1"))
        number = self.workers[-1].pid
        assert number is not None
        return number

    def _run(self, what: str, *arguments: str) -> BaseProcess:
        process = FORKS.Process(target=dask, args=(what, [*arguments, "--no-dashboard"]), daemon=True)
        process.start()
        return process

    def end(self) -> None:
        """End all of them."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.join()


def dask(what: str, arguments: list[str]) -> None:
    """Be a scheduler or a worker, as `dask scheduler` and `dask worker` are."""
    os.chdir(ROOT)
    torch.set_num_threads(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nothing, number)
    import_module(f"distributed.cli.dask_{what}").main(arguments)


@pytest.fixture(scope="module")
def grid():
    found = Grid()
    found.work()
    found.work()
    while not found.answers():
        time.sleep(0.05)
    yield found
    found.end()


def commands(files) -> list[list[str]]:
    """Every kind of work that is shared."""
    model = str(files["model"])
    return [
        ["measure", model, "--layer", LAYER, "--samples", "50"],
        ["units", model, *UNITS],
        ["effects", model, *EFFECTS, "--steps", "0", "--positions", "1"],
        ["report", str(files["patch"]), "--model", model, "--seeds", "0-39"],
        ["roles", "scenes", *ROLES, "--few", "1", "--more", "2", "--screen", "1"],
        ["omissions", model, "--samples", "34"],
    ]


@pytest.mark.parametrize("number", range(6))
def test_every_command_writes_what_one_process_writes(grid, files, tmp_path, number):
    command = commands(files)[number]
    for name, more in (("alone", []), ("shared", ["--scheduler", grid.address])):
        out = tmp_path / name / ("memory.safetensors" if command[0] == "measure" else "")
        assert main([*command, *more, "--out", str(out)]) == 0
    alone, shared = (sorted(path for path in (tmp_path / name).iterdir()) for name in ("alone", "shared"))
    assert [path.name for path in alone] == [path.name for path in shared]
    for one, other in zip(alone, shared, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def when(log, shards: int, act) -> threading.Thread:
    """Do something when so many shards were begun."""

    def wait() -> None:
        while len(begun(log)) < shards:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_worker_is_killed_another_comes_and_the_scheduler_starts_again(grid, tiny_generator, tmp_path, monkeypatch):
    alone, log = summed(tiny_generator, 160, tmp_path / "alone.log", 0), tmp_path / "shared.log"
    said: list[str] = []
    monkeypatch.setattr(cluster, "_say", said.append)
    came: list[int] = []

    def exchange() -> None:
        grid.workers[0].kill()
        came.append(grid.work())

    def restart() -> None:
        while came[0] not in [process for process, _ in begun(log)]:
            time.sleep(0.05)
        time.sleep(1)
        grid.scheduler.kill()
        grid.scheduler.join()
        # One that comes back at once is not missed by anybody.
        while not any("is gone: waiting" in text for text in said):
            time.sleep(0.05)
        grid.schedule()
        came.append(grid.work())
        while came[1] not in [process for process, _ in begun(log)]:
            time.sleep(0.05)
        over(log).touch()

    with closing(connect(grid.address)) as client, share_among(client):
        threads = [when(log, 4, exchange), when(log, 5, restart)]
        assert summed(tiny_generator, 160, log, 1.0) == alone
    for thread in threads:
        thread.join()
    processes = [process for process, _ in begun(log)]
    assert set(came) <= set(processes)
    # One shard of the killed worker, what both workers and the window of the client held at the restart, and what was
    # sent to the new scheduler before its name was known.
    assert len(processes) <= 40 + 1 + 7 + 5
    assert f"the scheduler {grid.address} is gone: waiting for it to come back" in said


def test_a_shard_that_was_lost_on_its_way_to_a_scheduler_that_ended_is_sent_to_the_next_one(
    grid, tiny_generator, tmp_path
):
    alone = summed(tiny_generator, 8, tmp_path / "alone.log", 0)
    with closing(connect(grid.address)) as client, share_among(client):
        crew = present.get()
        assert isinstance(crew, cluster.Cluster)
        executor, lost = crew._executor, []

        class Deaf:
            def submit(self, *given):
                crew._executor = executor
                lost.append(Future())
                return lost[0]

        crew._executor, crew._scheduler, crew._counted = Deaf(), "one that ended", time.monotonic()
        assert summed(tiny_generator, 8, tmp_path / "shared.log", 0) == alone
    assert len(lost) == 1


def test_a_scheduler_that_does_not_answer_and_a_missing_package_are_one_sentence(tmp_path, refusal, monkeypatch):
    measuring = ("measure", "towers", "--layer", "b8.conv1", "--out", tmp_path / "memory.safetensors")
    monkeypatch.setattr(cluster, "SECONDS_TO_CONNECT", 0.5)
    assert "no scheduler answers at tcp://127.0.0.1:9 within 0.5 s" in refusal(
        *measuring, "--scheduler", "tcp://127.0.0.1:9"
    )
    assert "leave --workers or --scheduler out" in refusal(*measuring, "--scheduler", "tcp://h:1", "--workers", "2")
    monkeypatch.delitem(sys.modules, "rewrite.shards.cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'model-rewriting[cluster]'" in refusal(*measuring, "--scheduler", "tcp://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []
