"""StyleGAN files of rosinality's port (`g_running`), whose weights are equalised: the network multiplies them by gains.

A file holds all blocks up to 1024x1024, also those that training had not reached. These are known by the bias of their
colours, which begins at zero; the last other one is what is drawn.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.states import BY_HAND
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.stylegan1 import FIRST, OneDesign, StyleGAN1, StyleGAN1Generator

FAMILY = "StyleGAN of rosinality's port"
CONSTANT = "generator.progression.0.conv1.input"
MOST_BLOCKS, MOST_LINEAR = 9, 32
FUSED = re.compile(r"generator\.progression\.\d\.conv1\.0\.weight")


@dataclass(frozen=True)
class OneFile(ForeignFile):
    """An opened StyleGAN, whose edited weights are written without their gain."""

    def _placed(self, tensors: Mapping[str, Tensor]) -> list[tuple[Placed, Tensor]]:
        return super()._placed({name: each / gain_of(name, each) for name, each in tensors.items()})


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: by its names."""
    return CONSTANT in candidate.state and "style.1.linear.weight_orig" in candidate.state


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete, or of the port's first days, which built its blocks in another order.
    """
    if "generator.progression.1.conv1.conv.weight_orig" in candidate.state:
        raise ValueError(f"{archive.path} is a {FAMILY} of its first days, whose blocks are not read here: {BY_HAND}")
    places = {name.removesuffix("_orig"): tensor for name, tensor in candidate.state.items()}
    design = _design(archive, places)
    network = read_state(archive, lambda: StyleGAN1(design), places, FAMILY)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.mul_(gain_of(name, parameter))
    generator = StyleGAN1Generator(network.eval().requires_grad_(False))
    side = FIRST << (len(design.channels) - 1)
    generator.assumed = (f"images are of {side} x {side} pixels: blocks of larger ones are not trained, or not there",)
    return OneFile(generator, archive, places, FAMILY, candidate)


def gain_of(name: str, weight: Tensor) -> float:
    """What the network multiplies a tensor by: √(2 / fan-in) for weights."""
    if not name.endswith(".weight"):
        return 1.0
    # A fused convolution has its inputs first.
    inputs = weight.shape[0] if FUSED.fullmatch(name) else weight.shape[1]
    return math.sqrt(2 / (inputs * math.prod(weight.shape[2:])))


def _design(archive: Archive, places: Mapping[str, Placed]) -> OneDesign:
    depth = 0
    while f"style.{2 * depth + 1}.linear.weight" in places and depth <= MOST_LINEAR:
        depth += 1
    blocks = 0
    while f"generator.progression.{blocks}.conv2.conv.weight" in places and blocks < MOST_BLOCKS:
        blocks += 1
    biases = [archive.read(places[f"generator.to_rgb.{number}.conv.bias"]) for number in range(blocks)]
    trained = [number for number, bias in enumerate(biases) if bias.any()]
    if depth > MOST_LINEAR or not blocks:
        raise ValueError(f"{archive.path} is not a {FAMILY}: it has {blocks} blocks")
    used = range(1 + (trained[-1] if trained else blocks - 1))
    return OneDesign(
        z_dim=places["style.1.linear.weight"].shape[1],
        depth=depth,
        channels=tuple(places[f"generator.progression.{number}.conv2.conv.weight"].shape[0] for number in used),
        fused=tuple(f"generator.progression.{number}.conv1.0.weight" in places for number in used),
    )
