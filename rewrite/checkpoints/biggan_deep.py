"""BigGAN-deep files of its authors' PyTorch code, under the same spectral norm as their BigGAN.

A file does not say which blocks double the side: it is the last of each side, and channels are dropped there alone.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.biggan import DEEP, NAMES, BigFile, unnormed
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile
from rewrite.checkpoints.states import LARGEST_SIDE
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.biggan_deep import BigGANDeep, DeepDesign, DeepGenerator

FAMILY = "BigGAN-deep of its authors' PyTorch code"
MOST_BLOCKS = 40
USUAL_DEPTH = 2
# One version of the code has more, of which the last are not drawn, and another order of its inputs.
COLOURS = 3


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: by its names."""
    return all(name in candidate.state for name in (*NAMES, DEEP))


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete, or has parts that are not known here.
    """
    places = candidate.state
    channels = channels_of(archive.path, places, FAMILY)
    depth = _depth(channels)
    design = _design(archive.path, places, channels, range((depth or USUAL_DEPTH) - 1, len(channels) - 1, depth or 2))
    network = unnormed(archive, places, lambda: BigGANDeep(design), FAMILY)
    said = [] if depth else [f"every other block doubles the side: images are of {side_of(design)} pixels"]
    said += (
        [] if design.class_first else ["z comes before the class, as in the code whose last layer has such channels"]
    )
    return BigFile(DeepGenerator(network, said), archive, places, FAMILY, candidate)


def channels_of(path: Path, places: Mapping[str, Placed], family: str) -> tuple[int, ...]:
    """The numbers of channels before the first block and after each.

    Raises:
        ValueError: The blocks do not follow one another.
    """
    blocks = 0
    while f"blocks.{blocks}.0.conv4.weight" in places and blocks <= MOST_BLOCKS:
        blocks += 1
    read = [places[f"blocks.{number}.0.conv1.weight"].shape[1] for number in range(blocks)]
    written = [places[f"blocks.{number}.0.conv4.weight"].shape[0] for number in range(blocks)]
    if blocks > MOST_BLOCKS or 0 in (*read, *written) or read[1:] != written[:-1]:
        raise ValueError(f"{path} is not a {family}: its blocks do not follow one another")
    return (read[0], *written)


def first_side(path: Path, places: Mapping[str, Placed], channels: Sequence[int], doublings: int, family: str) -> int:
    """The side of the first map.

    Raises:
        ValueError: There is none, or images would be too large.
    """
    side = math.isqrt(places["linear.weight"].shape[0] // channels[0])
    if not 0 < side << doublings <= LARGEST_SIDE:
        raise ValueError(f"{path} is not a {family}: it would draw images of {side << doublings} pixels a side")
    return side


def side_of(design: DeepDesign) -> int:
    """The side of the images."""
    return design.side << len(design.doubles)


def _depth(channels: Sequence[int]) -> int:
    """How many blocks there are of each side; 0 where no channels are dropped."""
    drops = [number for number, (before, after) in enumerate(pairwise(channels), 1) if before != after]
    return math.gcd(len(channels) - 1, *drops) if drops else 0


def _design(path: Path, places: Mapping[str, Placed], channels: tuple[int, ...], doubles: Sequence[int]) -> DeepDesign:
    classes, shared = places["shared.weight"].shape
    condition = places["linear.weight"].shape[1]
    if not 0 < shared < condition or not classes:
        raise ValueError(f"{path} is not a {FAMILY}: it reads {condition} numbers, of which {shared} are the class")
    attends = (number for number in range(len(channels) - 1) if f"blocks.{number}.1.theta.weight" in places)
    colours = places["output_layer.2.weight"].shape[0]
    return DeepDesign(
        classes,
        condition - shared,
        shared,
        first_side(path, places, channels, len(doubles), FAMILY),
        channels,
        tuple(doubles),
        tuple(attends),
        colours=colours,
        class_first=colours == COLOURS,
    )
