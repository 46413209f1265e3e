"""What an edit of a network of real size takes, beside drawing one of its images and beside the released 2020 loop.

    python -m benchmarks.real_size [--networks stylegan2 dcgan] [--layers b16.conv1 …] [--threads 1]

`stylegan2` is one of 256x256 at full width, `dcgan` one of 64x64 whose layer reads keys of 4,096 numbers (256 channels,
4x4, stride 2); both with random weights. The rule has one copy, one paste and three contexts. Seconds are those of the
processor, so that other work on the machine counts for little. `released` is the loop of 2,001 steps on one crop,
measured over a few of them.
"""

import argparse
import resource
from collections.abc import Iterator
from dataclasses import replace

import torch

from apps.bench.clock import scaled_up, seconds
from apps.bench.descent import STEPS
from apps.bench.marks import rule_on
from apps.bench.released import released_patch
from rewrite import Generator, Settings, measure, solve, wrap
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.goals.cache import Goals
from rewrite.memory import Memory
from rewrite.solvers.choice import Weights, weighed

FEW_STEPS, BATCH = 40, 4
LAYERS = {"stylegan2": ("b16.conv1", "b32.conv1", "b64.conv1"), "dcgan": ("8",)}


def stylegan2(side: int = 256) -> Generator:
    """A StyleGAN2 of full width."""
    sides = [2**power for power in range(2, side.bit_length())]
    channels = {each: min(512, 32768 // each) for each in sides}
    return StyleGAN2Generator(StyleGAN2(Design(z_dim=512, w_dim=512, mapping_layers=8, channels=channels)))


def dcgan() -> Generator:
    """A DCGAN with 256 channels where it reads 16x16 cells."""
    parts: list[torch.nn.Module] = [torch.nn.ConvTranspose2d(100, 512, 4), torch.nn.ReLU()]
    for inputs, outputs in ((512, 512), (512, 256), (256, 128)):
        parts += [torch.nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)]
        parts += [torch.nn.BatchNorm2d(outputs), torch.nn.ReLU()]
    parts += [torch.nn.ConvTranspose2d(128, 3, 4, 2, 1), torch.nn.Tanh()]
    return wrap(torch.nn.Sequential(*parts).eval(), latents=(100, 1, 1))


@torch.no_grad()
def drawing_seconds(generator: Generator) -> float:
    """What drawing one image of a batch takes."""
    latents = generator.latents(range(BATCH))
    generator.images(latents)
    return seconds(lambda: generator.images(latents)) / BATCH


def steps(generator: Generator, layer: str, memory: Memory) -> Iterator[tuple[str, float]]:
    """Names of steps, and what each takes."""
    mean = memory.mean_style_power
    power = mean if len(mean) else memory.patch_moment(generator.layer(layer)).diagonal()
    spread = generator.layer(layer).taps if len(mean) else 1
    unit = float(memory.patch_moment(generator.layer(layer)).trace() / (power.sum() * spread))
    given = weighed(Settings(), Weights(1.0), unit)
    rule, goals = rule_on(generator, layer, 3, given), Goals()
    yield "first", seconds(lambda: solve(generator, memory, rule, goals=goals))
    other = replace(rule, settings=weighed(Settings(), Weights(3.0), unit))
    yield "again: another drift", seconds(lambda: solve(generator, memory, other, goals=goals))
    more = rule_on(generator, layer, 4, given)
    yield "again: one mark more", seconds(lambda: solve(generator, memory, more, goals=goals))
    refined = replace(rule, settings=replace(given, refine=3))
    yield "first, with refine 3", seconds(lambda: solve(generator, memory, refined))
    chosen = replace(rule, settings=Settings.from_marks())
    yield "first, weights by the marks", seconds(lambda: solve(generator, memory, chosen, goals=goals))
    yield "again, weights by the marks", seconds(lambda: solve(generator, memory, chosen, goals=goals))


def released_seconds(generator: Generator, layer: str, memory: Memory) -> float:
    """What the released loop takes of the processor."""
    rule = rule_on(generator, layer, 3, Settings())
    run = lambda steps: released_patch(generator, memory, rule, steps=steps)  # noqa: E731
    run(1)
    return scaled_up(run, FEW_STEPS, STEPS)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--layers", nargs="*", help="those of the network if left out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--samples", type=int, default=16, help="images of the memories: they do not change the times")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.networks:
        torch.manual_seed(0)
        generator = {"stylegan2": stylegan2, "dcgan": dcgan}[name]()
        draw = drawing_seconds(generator)
        print(f"{name}: draw {draw:.2f} s an image")
        for layer in options.layers or LAYERS[name]:
            memory = measure(generator, layer, options.samples)
            released = released_seconds(generator, layer, measure(generator, layer, 4, key_space="channel"))
            print(f"  {layer}: released loop {released:.0f} s, {released / draw:.0f} draws")
            for step, took in steps(generator, layer, memory):
                print(
                    f"    {step:28} {took:6.1f} s {took / draw:6.2f} draws, released / {released / took:.0f}",
                    flush=True,
                )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.1f} GiB")


if __name__ == "__main__":
    main()
