"""What measuring a memory costs beside the forward pass to its layer, for both kinds of keys.

    python -m benchmarks.memory_cost [--generator towers] [--samples 2000] [--images 64] [--rounds 5]
    python -m benchmarks.memory_cost --generator wide --images 8

`wide` is a StyleGAN2 of 64x64 at full width (512 channels at every side) with random weights. In one process and on one
thread, the forward pass and the whole measurement take turns on the same images; a ratio is taken for each turn, and
the median is shown. Seconds are those of the processor, so that other work on the machine counts for little.
"""

import argparse
import statistics
import time

import torch
from threadpoolctl import threadpool_limits

from rewrite import Generator, load_generator
from rewrite.generators.contract import batched
from rewrite.generators.stylegan2 import Design, StyleGAN2
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.memory.measurement import FIRST_SEED
from rewrite.memory.sums import Sums, positions_per_image

WIDE = Design(z_dim=512, w_dim=512, mapping_layers=8, channels={side: 512 for side in (4, 8, 16, 32, 64)})


def run(generator: Generator, layer: str, seeds: range, batch: int, sums: Sums | None) -> float:
    """Seconds of the processor for running up to a layer, and for adding its keys where they are wanted."""
    began = time.process_time()
    with torch.no_grad():
        for part in batched(seeds, batch):
            cut = generator.cut(layer, generator.latents(part))
            if sums is not None:
                sums.add(cut, part)
    return time.process_time() - began


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", default="towers", help="name or path of a generator, or wide")
    parser.add_argument("--layers", nargs="*", help="all of them if left out")
    parser.add_argument("--samples", type=int, default=2000, help="images of a whole measurement")
    parser.add_argument("--images", type=int, default=64, help="images of one turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(limits=1, user_api="blas")
    torch.manual_seed(0)
    wide = options.generator == "wide"
    generator = StyleGAN2Generator(StyleGAN2(WIDE)) if wide else load_generator(options.generator)
    seeds = range(FIRST_SEED, FIRST_SEED + options.images)
    print("layer        keys      width an image | forward ms/img measure ms/img  ratio")
    for layer in options.layers or generator.layers:
        described = generator.layer(layer)
        run(generator, layer, seeds[: options.batch], options.batch, None)
        for key_space in ("channel", "patch"):
            chosen = positions_per_image(described, options.samples) if key_space == "patch" else None
            rounds = []
            for _ in range(options.rounds):
                sums = Sums(described, chosen, generator.device)
                alone = run(generator, layer, seeds, options.batch, None)
                rounds.append((alone, run(generator, layer, seeds, options.batch, sums)))
            ratio = statistics.median(whole / alone for alone, whole in rounds)
            alone, whole = (statistics.median(column) * 1000 / len(seeds) for column in zip(*rounds, strict=True))
            width = described.width if chosen else described.inputs
            keys = f"{layer:12} {key_space:8} {width:6} {sums.count // len(seeds):8}"
            print(f"{keys} | {alone:14.2f} {whole:14.2f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
