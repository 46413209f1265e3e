"""Work that processes of this machine share: the same to the byte, also when one of them is lost."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rewrite.shards import work
from rewrite.shards.processes import Processes
from rewrite.shards.sharing import share_among
from rewrite.shards.work import Work
from rewrite.storage.ledger import Ledger, images_in
from tests.long_work import begun, refusing, slowly, summed


def kill_one(log, killed: list) -> None:
    """End a worker in the middle of its second shard."""
    while not killed:
        time.sleep(0.05)
        processes = [process for process, _ in begun(log)]
        killed += [process for process in processes if processes.count(process) > 1][:1]
    os.kill(killed[0], signal.SIGKILL)


def test_a_lost_process_costs_its_shard_and_nothing_else(tiny_generator, tmp_path, monkeypatch):
    alone = summed(tiny_generator, 42, tmp_path / "alone.log", 0)
    log, killed, processes = tmp_path / "shared.log", [], Processes(2)
    killer = threading.Thread(target=kill_one, args=(log, killed))
    killer.start()
    with share_among(processes):
        shared = summed(tiny_generator, 42, log, 0.3, tmp_path / "state.safetensors")
        killer.join()
        assert shared == alone
        numbers = [number for _, number in begun(log)]
        lost = [number for process, number in begun(log) if process == killed[0]][-1]
        assert sorted(numbers) == sorted([*range(0, 42, 4), lost])
        assert len({process for process, _ in begun(log)}) == 3
        assert images_in(tmp_path / "state.safetensors", "sum") == 42
        # What the work itself raises is raised here, and does not count as a loss.
        with pytest.raises(ValueError, match="the image 0 is not wanted"):
            Ledger().over("sum", range(8), Work(refusing, tiny_generator, tiny_generator), batch=4)
    monkeypatch.setattr(work, "versions", lambda: tuple((name, "9.9") for name, _ in OURS))
    with share_among(processes), pytest.raises(ValueError, match=r"has model-rewriting .*, and 9\.9 sends it work"):
        summed(tiny_generator, 8, log, 0)
    processes.shutdown(cancel_futures=True)


OURS = work.versions()


def test_a_worker_with_another_model_is_refused_and_an_ended_executor_too(tiny_generator, tmp_path, monkeypatch):
    executor = ThreadPoolExecutor(1)
    with share_among(executor):
        monkeypatch.setattr("rewrite.shards.work.fingerprint_of", lambda network: "0" * 16)
        with pytest.raises(ValueError, match=r"has the model [0-9a-f]{16}, and was sent 0000000000000000"):
            summed(tiny_generator, 8, tmp_path / "log", 0)
        executor.shutdown()
        with pytest.raises(ChildProcessError, match="the images 0 to 3 were lost 3 times with their worker"):
            summed(tiny_generator, 8, tmp_path / "log", 0)
    assert begun(tmp_path / "log") == []


def test_what_cannot_travel_is_refused_in_one_sentence(tiny_generator):
    here = Work(slowly, lambda: None, tiny_generator)
    with share_among(ThreadPoolExecutor(1)), pytest.raises(ValueError, match="cannot be sent to other processes"):
        Ledger().over("sum", range(4), here, batch=4)
