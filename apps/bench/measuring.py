"""Statistics: what measuring a memory costs beside the forward pass of its images to the layer."""

from collections.abc import Iterator
from functools import partial
from itertools import count

import torch

from apps.bench.clock import seconds
from apps.bench.lines import Line, Pair
from apps.bench.subject import Subject
from rewrite import Generator, measure
from rewrite.generators.batches import batched
from rewrite.memory.measurement import FIRST_SEED

BATCH = 16


@torch.no_grad()
def forward(generator: Generator, layer: str, images: int) -> None:
    """Run the images of a memory up to a layer."""
    for part in batched(range(FIRST_SEED, FIRST_SEED + images), BATCH):
        generator.cut(layer, generator.latents(part))


def patch_keys(subject: Subject) -> Iterator[Pair]:
    """Measuring whole receptive fields."""
    return beside_the_pass(subject, "patch")


def channel_keys(subject: Subject) -> Iterator[Pair]:
    """Measuring single positions, as in the 2020 paper."""
    return beside_the_pass(subject, "channel")


def beside_the_pass(subject: Subject, key_space: str) -> Iterator[Pair]:
    """Measurements, each beside a pass of the images that it read."""
    generator, layer, images = subject.generator, subject.layer, subject.memory(key_space).images
    forward(generator, layer, BATCH)
    whole = partial(measure, generator, layer, key_space=key_space, batch=BATCH)
    for _ in count():
        alone = seconds(partial(forward, generator, layer, images))
        yield Pair(seconds(whole), alone, {"images": images})


PASS = "the bare forward pass of the same images to the layer"
LINES = (
    Line("statistics", "measuring a memory of patch keys, on as many images as its forecast needs", PASS, patch_keys),
    Line("statistics-channel", "the same of channel keys, those of the 2020 paper", PASS, channel_keys),
)
