"""Residual generators by the names of torch_mimicry (SNGAN, SSGAN, InfoMax-GAN, WGAN-GP) and of sngan_projection.

https://github.com/kwotsin/mimicry and https://github.com/crcrpar/pytorch.sngan_projection share the names of the first
(Chainer) release and, unlike it, double the side by bilinear interpolation. Images are taken to come out of tanh.
"""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.states import BY_HAND, LARGEST_SIDE, check_plain
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.resnet import Residual, ResNetGAN
from rewrite.generators.wrapped import wrap

FAMILY = "residual generator of SNGAN's ports"
MOST_BLOCKS = 64
COUNTER = "num_batches_tracked"


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: by its names."""
    names = candidate.state
    return any(f"l1.weight{end}" in names and f"block2.c1.weight{end}" in names for end in ("", "_orig"))


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete, or has parts that are not known here.
    """
    places = {_renamed(name): tensor for name, tensor in candidate.state.items()}
    check_plain(places, archive.path)
    blocks = _blocks(places)
    last = f"c{len(blocks) + 2}.weight"
    if not _fit(blocks) or any(len(places[name].shape) != count for name, count in (("l1.weight", 2), (last, 4))):
        raise ValueError(f"{archive.path} is not a {FAMILY}: its layers do not fit together")
    (outputs, z_dim), (colours, _, kernel, _) = places["l1.weight"].shape, places[last].shape
    side = math.isqrt(outputs // blocks[0].inputs)
    drawn = side * 2 ** sum(block.up for block in blocks)
    if colours not in (1, 3) or kernel % 2 == 0 or not 0 < drawn <= LARGEST_SIDE:
        raise ValueError(
            f"{archive.path} is not a {FAMILY}: it would draw {colours} colours with a kernel of {kernel}x{kernel} at "
            f"{drawn}x{drawn}"
        )

    def build() -> ResNetGAN:
        return ResNetGAN(z_dim, side, blocks, kernel, colours)

    with torch.device("meta"):
        unknown = sorted(set(places) - set(build().state_dict()))
    if unknown:
        raise ValueError(f"{archive.path} is a {FAMILY} with {unknown[0]}, which is not read here: {BY_HAND}")
    network = read_state(archive, build, places, FAMILY, (COUNTER,))
    return ForeignFile(wrap(network.eval().requires_grad_(False), z_dim), archive, places, FAMILY, candidate)


def _blocks(places: Mapping[str, Placed]) -> list[Residual]:
    blocks = []
    while (name := f"block{len(blocks) + 2}") and f"{name}.c1.weight" in places and len(blocks) <= MOST_BLOCKS:
        hidden, inputs = places[f"{name}.c1.weight"].shape[:2]
        up = f"{name}.c_sc.weight" in places
        blocks.append(Residual(inputs, hidden, places[f"{name}.c2.weight"].shape[0], up))
    return blocks


def _fit(blocks: Sequence[Residual]) -> bool:
    """Whether each block reads what the one before it writes."""
    if len(blocks) > MOST_BLOCKS:
        return False
    whole = all(min(block.inputs, block.hidden, block.outputs) > 0 for block in blocks)
    chained = all(before.outputs == after.inputs for before, after in pairwise(blocks))
    return whole and chained and all(block.up or block.inputs == block.outputs for block in blocks)


def _renamed(name: str) -> str:
    """The last convolution is called `conv7` in sngan_projection, `c7` in torch_mimicry."""
    return re.sub(r"^conv(\d+)\.", r"c\1.", name)
