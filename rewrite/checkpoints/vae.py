"""Decoders of diffusers' `AutoencoderKL`, the autoencoder of Stable Diffusion and its like: picture generators.

The encoder in the same file stays as it is. `config.json` beside the file says how many groups are normalised together.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.states import BY_HAND, LARGEST_SIDE
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.decoders import USUAL, DecoderGenerator
from rewrite.generators.vae import KLDecoder, KLDesign
from rewrite.storage import files
from rewrite.storage.quoting import quoted

FAMILY = "decoder of diffusers' AutoencoderKL"
SCALED = " (those of a pipeline, divided by its scaling factor)"
FIRST, CONFIG = "decoder.conv_in.weight", "config.json"
GROUPS, MOST_LEVELS, MOST_BLOCKS = 32, 7, 16
OURS = ("decoder.", "post_quant_conv.")
# Names that diffusers gave before 2023.
FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
ATTENTION = re.compile(r"(?<=attentions\.0\.)(query|key|value|proj_attn)(?=\.)")


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: by its names."""
    return FIRST in candidate.state and "decoder.up_blocks.0.resnets.0.conv1.weight" in candidate.state


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete, or has parts that are not known here.
    """
    places = {
        ATTENTION.sub(lambda found: FORMER[found[0]], name): tensor
        for name, tensor in candidate.state.items()
        if name.startswith(OURS)
    }
    size = candidate.size or USUAL
    design = _design(archive.path, places, max(size))

    def build() -> KLDecoder:
        return KLDecoder(design)

    network = read_state(archive, build, places, FAMILY)
    unknown = sorted(set(places) - set(network.state_dict()))
    if unknown:
        raise ValueError(f"{archive.path} is a {FAMILY} with {unknown[0]}, which is not read here: {BY_HAND}")
    generator = DecoderGenerator(network.eval().requires_grad_(False), design.latents, size, SCALED)
    return ForeignFile(generator, archive, places, FAMILY, candidate)


def _design(path: Path, places: Mapping[str, Placed], side: int) -> KLDesign:
    levels = _count(places, "decoder.up_blocks.{}.resnets.0.conv1.weight")
    blocks = _count(places, "decoder.up_blocks.0.resnets.{}.conv1.weight")
    if not 1 <= levels <= MOST_LEVELS or not 1 <= blocks <= MOST_BLOCKS or side << (levels - 1) > LARGEST_SIDE:
        raise ValueError(f"{path} is not a {FAMILY}: it has {levels} levels of {blocks} blocks, for latents of {side}")
    channels = [places[f"decoder.up_blocks.{n}.resnets.0.conv1.weight"].shape[0] for n in range(levels)]
    groups = _groups(path)
    if any(count % groups for count in channels) or not all(channels):
        raise ValueError(f"{path} is not a {FAMILY}: its channels do not fall into {groups} groups")
    return KLDesign(
        latents=places[FIRST].shape[1],
        channels=tuple(channels),
        blocks=blocks,
        groups=groups,
        attention="decoder.mid_block.attentions.0.group_norm.weight" in places,
        first="post_quant_conv.weight" in places,
    )


def _groups(path: Path) -> int:
    """The number of groups, as the configuration beside the file says; diffusers' default without one."""
    beside = path.parent / CONFIG
    config = files.read_json(beside, "configuration") if beside.is_file() else {}
    groups = config.get("norm_num_groups", GROUPS) if isinstance(config, dict) else GROUPS
    if not isinstance(groups, int) or not 1 <= groups <= 1024:
        raise ValueError(f"{beside} says that {quoted(groups)} groups are normalised together")
    return groups


def _count(places: Mapping[str, Placed], name: str) -> int:
    """How many there are of a part that is counted from 0."""
    count = 0
    while name.format(count) in places:
        count += 1
    return count
