"""What measuring a memory costs beside the forward pass to its layer, for both kinds of keys.

    python -m benchmarks.memory_cost [--network towers] [--samples auto] [--rounds 3]
    python -m benchmarks.memory_cost --network stylegan2-256 --layers b16.conv1 b32.conv1 b64.conv1 --rounds 1
    python -m benchmarks.memory_cost --network dcgan --layers 8

`stylegan2-256` is one of full width with random weights, `dcgan` one whose layer 8 reads keys of 4,096 numbers. In one
process and on one thread, the whole measurement and the forward pass of as many images as it read take turns; a ratio
is taken for each turn, and the median is shown. Seconds are those of the processor, so that other work on the machine
counts for little.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from apps.parsers.parser import images_or_auto
from benchmarks.networks import network
from rewrite import Generator, measure
from rewrite.generators.batches import batched
from rewrite.memory.measurement import FIRST_SEED


def seconds(work: Callable[[], object]) -> float:
    """Seconds of the processor that some work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


@torch.no_grad()
def forward(generator: Generator, layer: str, images: int, batch: int) -> None:
    """Run up to a layer."""
    for part in batched(range(FIRST_SEED, FIRST_SEED + images), batch):
        generator.cut(layer, generator.latents(part))


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--network",
        default="towers",
        help="as benchmarks.networks names them",
    )
    parser.add_argument("--weights", type=Path, help="folder of trained networks of other people")
    parser.add_argument("--layers", nargs="*", help="all of them if left out")
    parser.add_argument("--samples", type=images_or_auto, default="auto", help="images, or auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(limits=1, user_api="blas")
    generator = network(options.network, options.weights)
    print("layer        keys      width images an image within | forward ms/img measure ms/img  ratio")
    for layer in options.layers or generator.layers:
        forward(generator, layer, options.batch, options.batch)
        for key_space in ("channel", "patch"):
            whole = partial(measure, generator, layer, options.samples, key_space=key_space, batch=options.batch)
            memory, rounds = whole(), []
            for _ in range(options.rounds):
                alone = seconds(partial(forward, generator, layer, memory.images, options.batch))
                rounds.append((alone, seconds(whole)))
            ratio = statistics.median(measured / alone for alone, measured in rounds)
            per_image = (statistics.median(column) * 1000 / memory.images for column in zip(*rounds, strict=True))
            within = "      " if memory.accuracy is None else f"{memory.accuracy.off:6.1%}"
            keys = f"{len(memory.total):6} {memory.images:6} {memory.count / memory.images:8.1f} {within}"
            times = " ".join(f"{each:14.2f}" for each in per_image)
            print(f"{layer:12} {key_space:8} {keys} | {times} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
