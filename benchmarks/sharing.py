"""What workers save of a memory, a dissection and a comparison: seconds, and processor time, which load hardly moves.

    OMP_NUM_THREADS=1 python -m benchmarks.sharing --workers 2 --samples 512

Workers have the model before the clock starts; what that takes is said apart. `ratio` is seconds alone over seconds
shared. `by_cpu` is what it would be on as many free cores as there are workers: processor time alone, over that of all
processes together shared by the cores.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from dissect.sources.towers import SegmenterSource
from dissect.units.counting import dissect
from dissect.units.probe import GeneratorProbe
from rewrite import Generator, Patch, load_generator, measure
from rewrite.patch import Stack
from rewrite.reports.effect import Comparison
from rewrite.shards.processes import Processes
from rewrite.shards.sharing import share_among
from rewrite.storage.ledger import Ledger

FEW, LAYER = 8, "b32.conv0"


def kinds(generator: Generator, patch: Patch | None) -> dict[str, Callable[[int], object]]:
    """What is shared, each as a function of the number of images."""
    probe = GeneratorProbe(generator, [LAYER], SegmenterSource())
    held = [] if patch is None else [(patch, 1.0)]
    comparison = Comparison(generator, partial(Stack(generator).holding, held), probe.source)
    return {
        "memory": lambda images: measure(generator, "b16.conv1", images).total.numpy().tobytes(),
        "dissection": lambda images: dissect(probe, images, level_samples=images // 3 + 8)[
            "b32.conv0"
        ].tally.both.tolist(),
        "comparison": lambda images: comparison.effect(range(images), Ledger()).map.tobytes(),
    }


def processor_seconds() -> float:
    """Of this process and of its workers, so far."""
    of = [psutil.Process(os.getpid()), *(psutil.Process(each.pid) for each in multiprocessing.active_children())]
    return sum(sum(each.cpu_times()[:2]) for each in of)


def timed(act: Callable[[int], object], images: int) -> tuple[float, float, object]:
    """Seconds, processor seconds, and what was found."""
    began, used = time.perf_counter(), processor_seconds()
    found = act(images)
    return time.perf_counter() - began, processor_seconds() - used, found


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", default="towers")
    parser.add_argument("--patch", type=Path, help="what the comparison edits with; nothing if left out")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--only", choices=("memory", "dissection", "comparison"), help="what is shared, if not all")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    generator, processes, results = load_generator(options.generator), Processes(options.workers), {}
    patch = None if options.patch is None else Patch.load(options.patch)
    with share_among(processes):
        began, used = time.perf_counter(), processor_seconds()
        measure(generator, "b16.conv1", 16 * options.workers * 2)
        results["start"] = {"seconds": time.perf_counter() - began, "cpu": processor_seconds() - used}
    asked = {name: act for name, act in kinds(generator, patch).items() if options.only in (None, name)}
    for name, act in asked.items():
        act(FEW)
        rows = []
        for _ in range(options.rounds):
            alone = timed(act, options.samples)
            with share_among(processes):
                act(16 * options.workers * 2)
                shared = timed(act, options.samples)
            same = alone[2] == shared[2]
            rows.append((alone[0] / shared[0], options.workers * alone[1] / shared[1], shared[1] / alone[1], same))
        ratio, by_cpu, cost = (statistics.median(row[i] for row in rows) for i in range(3))
        results[name] = {"ratio": ratio, "by_cpu": by_cpu, "cpu_cost": cost, "same": all(row[3] for row in rows)}
        print(name, json.dumps(results[name]), flush=True)
    processes.shutdown(cancel_futures=True)
    print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg()[0], **results}, indent=1))


if __name__ == "__main__":
    main()
