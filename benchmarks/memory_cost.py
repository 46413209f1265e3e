"""What measuring a memory costs beside the forward pass to its layer, for both key spaces.

    python benchmarks/memory_cost.py [--generator towers] [--samples 2000] [--rounds 5]

Forward pass and measurement take turns in one process; the ratio is taken round by round and its median is shown.
"""

import argparse
import statistics
import time

import torch

from rewrite import Generator, load_generator, measure
from rewrite.generators.contract import batched
from rewrite.memory import FIRST_SEED


def forward(generator: Generator, layer: str, samples: int, batch: int) -> None:
    """Run the generator up to a layer."""
    with torch.no_grad():
        for part in batched(range(FIRST_SEED, FIRST_SEED + samples), batch):
            generator.cut(layer, generator.latents(part))


def timed(function, *arguments, **options) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - began


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", default="towers")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    generator = load_generator(options.generator)
    print(f"{'layer':12} {'keys':8} {'forward ms/img':>14} {'measure ms/img':>14} {'ratio':>6}")
    for layer in generator.layers:
        for key_space in ("channel", "patch"):
            forward(generator, layer, options.batch, options.batch)
            rounds = [
                (
                    timed(forward, generator, layer, options.samples, options.batch),
                    timed(measure, generator, layer, options.samples, key_space=key_space, batch=options.batch),
                )
                for _ in range(options.rounds)
            ]
            ratio = statistics.median(b / a for a, b in rounds)
            first, second = (statistics.median(column) * 1000 / options.samples for column in zip(*rounds, strict=True))
            print(f"{layer:12} {key_space:8} {first:14.2f} {second:14.2f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
