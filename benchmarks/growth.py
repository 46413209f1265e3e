"""How the time and the memory of drawing and of measuring grow, with the exponents of fitted power laws.

    python -m benchmarks.growth [--quick]

On one thread; seconds are those of the processor. Each row varies one size and holds the others: channels of a
StyleGAN2 of 32x32, its size in pixels at 64 channels, the kernel of one convolution of 64 channels, the images of a
measurement, and the keys of one. An exponent of 2 means that twice the size takes four times as long.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from rewrite import Generator, measure
from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.memory.accuracy import Halves
from rewrite.memory.sums import Sums

TURNS, BATCH = 2, 8


def seconds(work: Callable[[], object]) -> float:
    """Seconds of the processor that some work takes: the least of a few turns, after one that is not counted."""
    work()
    return min(_once(work) for _ in range(TURNS))


def _once(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def stylegan2(width: int, size: int) -> Generator:
    """A StyleGAN2 of one number of channels throughout."""
    sides = [2**power for power in range(2, size.bit_length())]
    return StyleGAN2Generator(StyleGAN2(Design(512, 512, 8, dict.fromkeys(sides, width))))


def convolution(channels: int, kernel: int, side: int = 16) -> Layer:
    """A convolution that keeps the size of its map."""
    padding = (kernel // 2, kernel // 2)
    return Layer("l", "l", "convolution", channels, channels, (side, side), (kernel, kernel), padding=padding)


def sums(layer: Layer, keys: int) -> Callable[[], object]:
    """Adding the patch keys of some images to a memory, whose sum in float64 has already begun."""
    maps, began = torch.randn(BATCH, layer.inputs, *layer.grid), Sums(layer, keys, torch.device("cpu"), blocks=True)

    def work() -> None:
        began.add(Cut(None, maps), range(BATCH))
        # Asks for all of it, so that no block waits.
        assert len(began.energy) == layer.width

    return work


def check(layer: Layer) -> Callable[[], object]:
    """Asking how good a memory is."""
    halves, maps = Halves(layer, "patch", torch.device("cpu")), torch.randn(16, layer.inputs, *layer.grid)
    halves.ask(Cut(None, maps), range(16))
    halves.add(Cut(None, maps), range(16))
    return halves.accuracy


def drawn(generator: Generator) -> Callable[[], object]:
    """Drawing a batch."""
    return partial(generator.sample, range(BATCH))


def measured(generator: Generator, images: int) -> Callable[[], object]:
    """Measuring a layer on a number of images."""
    return partial(measure, generator, "b16.conv1", images)


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """The power of the sizes that the costs grow with, by least squares of their logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two small sizes of each, to see that it runs")
    few = 2 if parser.parse_args().quick else 4
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = {
        "draw by channels": ([64, 128, 256, 512], lambda n: drawn(stylegan2(n, 32))),
        "draw by pixels of a side": ([16, 32, 64, 128], lambda n: drawn(stylegan2(64, n))),
        "sums by channels": ([64, 128, 256, 384], lambda n: sums(convolution(n, 3), 32)),
        "sums by side of the kernel": ([1, 3, 5, 7], lambda n: sums(convolution(64, n), 32)),
        "sums by cells of a side": ([16, 32, 64, 128], lambda n: sums(convolution(64, 3, n), 32)),
        "sums by keys of an image": ([16, 32, 64, 128], lambda n: sums(convolution(256, 3), n)),
        "check by channels": ([64, 128, 256, 384], lambda n: check(convolution(n, 3))),
        "measure by images": ([100, 200, 400, 800], lambda n: measured(stylegan2(64, 16), n)),
    }
    print("what                          sizes                  seconds                        exponent")
    for name, (sizes, make) in rows.items():
        costs = [seconds(make(size)) for size in sizes[:few]]
        shown = " ".join(f"{cost:7.3f}" for cost in costs)
        print(f"{name:28} {sizes[:few]!s:22} {shown:32} {exponent(sizes[:few], costs):5.2f}", flush=True)


if __name__ == "__main__":
    main()
