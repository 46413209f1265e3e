"""How far a memory of `--samples auto` is from one of 4,000 images, beside what it says itself.

    python -m benchmarks.memory_accuracy towers b8.conv0 b16.conv1 b32.conv1
    python -m benchmarks.memory_accuracy stylegan2-256 b16.conv1 b32.conv1 b64.conv1
    python -m benchmarks.memory_accuracy dcgan 8
    python -m benchmarks.memory_accuracy faces32 generator_deconv.2.0 --weights FOLDER

Rules are pretended: each wants what four images write at a few places to be what a fifth writes there. The damage that
each memory forecasts for its own answer is compared, for a ridge as light as `Settings()` has it (1) and for one as
heavy as marks choose it (300). `told` is what the memory of `auto` says of itself. The rest are ratios to the forecast
of the reference: how far they are off (root of the mean square), their median and ends over rules, and the damage that
the answer of `auto` does by the reference.
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.networks import network
from rewrite import Generator, Memory, measure
from rewrite.memory.sums import read_keys
from rewrite.solvers.algebra import Metric, minimise, price

RULES, IMAGES, KEYS = 8, 5, 6
DAMAGE, RIDGES = 0.03, (1.0, 300.0)
FIRST_REFERENCE, FIRST_MARK = 2_000_000, 500_000


def wishes(generator: Generator, layer: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Keys and what they are to get beyond what they get, for each pretended rule."""
    described = generator.layer(layer)
    matrix = described.matrix(generator.weight(layer)).double()
    for rule in range(RULES):
        seeds = range(FIRST_MARK + IMAGES * rule, FIRST_MARK + IMAGES * (rule + 1))
        features = generator.cut(layer, generator.latents(seeds)).features
        keys = read_keys(described, features, [seeds[0]] * IMAGES, KEYS).double().unflatten(0, (IMAGES, -1))
        missing = (keys[:1] - keys[1:]).flatten(0, 1)
        yield keys[1:].flatten(0, 1), described.values(missing, matrix)


def forecasts(generator: Generator, memory: Memory, ridge: float, judge: Memory) -> Iterator[tuple[float, float]]:
    """For each rule the damage of its answer, by the memory that it was solved with and by another."""
    layer = generator.layer(memory.layer)
    moments = [each.patch_moment(layer) for each in (memory, judge)]
    power = judge.mean_style_power
    if not len(power):
        power = moments[1].diagonal().reshape(layer.inputs, -1).mean(dim=1)
    metric = Metric(DAMAGE * (moments[0] + ridge * torch.diag(power.repeat_interleave(layer.taps))))
    for keys, residual in wishes(generator, memory.layer):
        weights = torch.full((len(keys),), float(1 / residual.square().sum()), dtype=torch.float64)
        change = minimise(metric, keys, residual, weights * price_of_layer(generator, judge))
        mine, others = (price(change, moment) for moment in moments)
        yield mine, others


def price_of_layer(generator: Generator, memory: Memory) -> float:
    """What the layer writes at ordinary keys, E‖v‖²."""
    layer = generator.layer(memory.layer)
    return price(layer.matrix(generator.weight(layer.name)).double(), memory.patch_moment(layer))


@torch.no_grad()
def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", help="towers, stylegan2-256, dcgan, a trained network of --weights, or a file")
    parser.add_argument("layers", nargs="+")
    parser.add_argument("--weights", type=Path, help="folder of networks.py and its files")
    parser.add_argument("--images", type=int, default=4000, help="images of the reference")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = network(options.network, options.weights)
    print("layer            width images told  | ridge  off    forecast (ends)  done")
    for layer in options.layers:
        memory = measure(generator, layer)
        reference = measure(generator, layer, options.images, first_seed=FIRST_REFERENCE)
        head = f"{layer:16} {len(memory.total):5} {memory.images:6} {memory.accuracy.off:5.1%}"
        for ridge in RIDGES:
            mine = list(forecasts(generator, memory, ridge, reference))
            theirs = [own for own, _ in forecasts(generator, reference, ridge, reference)]
            ratios = [own / known for (own, _), known in zip(mine, theirs, strict=True)]
            done = statistics.median(other / known for (_, other), known in zip(mine, theirs, strict=True))
            ends = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
            off = statistics.fmean((ratio - 1) ** 2 for ratio in ratios) ** 0.5
            print(f"{head} | {ridge:5.0f}  {off:5.1%}  {ends}  {done:.3f}", flush=True)


if __name__ == "__main__":
    main()
