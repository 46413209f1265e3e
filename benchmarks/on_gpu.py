"""What an edit of a network of real size takes on a device, and how much of that is copies: one table in ten minutes.

    python -m benchmarks.on_gpu [--device auto] [--networks stylegan2-256 dcgan] [--out benchmarks/on_gpu.md]
    python -m benchmarks.on_gpu --device cpu --networks towers --layers b8.conv1 --images 16

The network draws, measures and solves once before anything is timed, and the device is waited for. `draws` is the time
over that of drawing one image in batches of four. `copies` is the share of the device's time that moves tensors between
device and host, by torch's profiler; on the CPU there are none. Above the table stands what the device does in float64,
and how often a float32 solve must be refined until its objective is within 1e-6.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from apps.bench.marks import rule_on
from benchmarks.networks import network
from rewrite import Generator, Goals, Settings, measure, report_on, solve
from rewrite.generators.devices import device_named, wide

LAYERS = {"stylegan2-256": ("b16.conv1", "b32.conv1", "b64.conv1"), "dcgan": ("8",), "towers": ("b16.conv1",)}
SIZE, RIGHT_HAND_SIDES = 2048, 32
MOST_REFINED, CLOSE = 20, 1e-6


def waited(device: torch.device) -> float:
    """The clock, once the device has done what it was told."""
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()
    return time.perf_counter()


def timed(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds that some work takes, and the share of the device's time that are copies to and from the host."""
    began = waited(device)
    work()
    taken = waited(device) - began
    if device.type != "cuda":
        return taken, 0.0
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        work()
        waited(device)
    spent = {event.key: event.self_device_time_total for event in seen.key_averages()}
    copies = sum(each for name, each in spent.items() if "HtoD" in name or "DtoH" in name)
    return taken, copies / max(1e-9, sum(spent.values()))


def steps(generator: Generator, layer: str, images: int | str) -> Iterator[tuple[str, Callable[[], object]]]:
    """The steps of an edit by name, each ready to run."""
    rule = rule_on(generator, layer, 3, Settings())
    refined = replace(rule, settings=Settings(refine=10))
    memory, goals = measure(generator, layer, images), Goals()
    patch = solve(generator, memory, rule, goals=goals)
    yield "measure", lambda: measure(generator, layer, images)
    yield "measure, channel keys", lambda: measure(generator, layer, images, key_space="channel")
    yield "solve at first", lambda: solve(generator, memory, rule)
    yield "solve again", lambda: solve(generator, memory, rule, goals=goals)
    yield "solve with refine", lambda: solve(generator, memory, refined)
    yield "report on 16 images", lambda: report_on(generator, patch, seeds=range(900, 916))


def precision(device: torch.device) -> str:
    """What a device does of a positive definite system, by its clock and against float64 on the CPU."""
    draws = torch.Generator().manual_seed(0)
    factor = torch.randn(SIZE, SIZE, dtype=torch.float64, generator=draws) * torch.logspace(0, -3, SIZE)
    matrix = factor @ factor.T + 1e-4 * torch.eye(SIZE, dtype=torch.float64)
    wanted = torch.randn(SIZE, RIGHT_HAND_SIDES, dtype=torch.float64, generator=draws)
    exact = torch.cholesky_solve(wanted, torch.linalg.cholesky(matrix))
    lines = []
    if wide(device) == device:
        there = matrix.to(device)
        seconds = [timed(lambda: torch.linalg.cholesky(there), device)[0] for _ in range(2)][1]
        lines.append(f"float64 factor of {SIZE}: {1000 * seconds:.0f} ms")
    narrow = matrix.to(device, torch.float32)
    lower, trouble = torch.linalg.cholesky_ex(narrow)
    if int(trouble):
        return "; ".join([*lines, "float32 finds no factor"])
    seconds = [timed(lambda: torch.linalg.cholesky(narrow), device)[0] for _ in range(2)][1]
    found, off = torch.zeros_like(exact), list[float]()
    while len(off) <= MOST_REFINED and (not off or off[-1] > CLOSE):
        found = found + torch.cholesky_solve((wanted - matrix @ found).to(narrow), lower).cpu().double()
        off.append(_objective_off(matrix, found, exact))
    refined = f"{off[0]:.1e}, after {len(off) - 1} refinements {off[-1]:.1e}"
    return "; ".join([*lines, f"float32: {1000 * seconds:.0f} ms, objective off by {refined}"])


def _objective_off(matrix: torch.Tensor, found: torch.Tensor, exact: torch.Tensor) -> float:
    """By what share a solution misses the least of ½ xᵀMx - bᵀx."""
    missing = found - exact
    return float((missing * (matrix @ missing)).sum() / (exact * (matrix @ exact)).sum())


def table(options: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """The lines of the table."""
    yield f"# An edit on {torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type}\n"
    yield f"{precision(device)}\n"
    yield "| network | layer | step | seconds | draws | copies |"
    yield "|---|---|---|---|---|---|"
    for name in options.networks:
        generator = network(name).to(device)
        generator.sample(range(4), 4)
        draw = timed(lambda drawn=generator: drawn.sample(range(16), 4), device)[0] / 16
        yield f"| {name} | | draw an image | {draw:.4f} | 1 | |"
        for layer in options.layers or LAYERS[name]:
            for step, work in steps(generator, layer, options.images):
                seconds, copies = timed(work, device)
                yield f"| {name} | {layer} | {step} | {seconds:.3f} | {seconds / draw:.1f} | {copies:.0%} |"
    if device.type == "cuda":
        yield f"\nPeak memory of the device: {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB"


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--networks", nargs="+", choices=LAYERS, default=["stylegan2-256", "dcgan"])
    parser.add_argument("--layers", nargs="*", help="those of the table if left out")
    parser.add_argument("--images", type=int, help="of a measurement; as many as are needed if left out")
    parser.add_argument("--out", type=Path, help="a file for the table, beside what is printed")
    options = parser.parse_args()
    options.images = options.images or "auto"
    lines = []
    for line in table(options, device_named(options.device)):
        print(line, flush=True)
        lines.append(line)
        if options.out is not None:
            # After each line: what was measured stays if the machine is taken away.
            options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
