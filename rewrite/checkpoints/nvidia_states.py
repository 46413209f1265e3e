"""StyleGAN2 state dicts by NVIDIA's names, which are ours too: `G_ema.state_dict()` and what `export` writes.

Names and shapes say all of the architecture. What they cannot say is taken as NVIDIA's training script has it: the
mapping's learning rate, and the limit of what a layer writes.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.states import LARGEST_SIDE
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.filters import Blur
from rewrite.generators.stylegan2 import OPTIONAL, StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator

FAMILY = "StyleGAN2 state dict by NVIDIA's names"
FILTER = "resample_filter"
CLAMP = 256.0
ASSUMED = ("the mapping's learning rate is .01 and layers are limited to 256, as NVIDIA's training script has it",)


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: by its names."""
    return "synthesis.b4.conv1.affine.weight" in candidate.state


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete, or built in a way that is not known here.
    """
    places = {name: tensor for name, tensor in candidate.state.items() if not name.endswith(FILTER)}
    check_filters(archive, candidate.state)
    design = Design(**architecture_of(places, FAMILY, archive), clamp=CLAMP)
    network = read_state(archive, lambda: StyleGAN2(design), places, FAMILY, OPTIONAL)
    generator = StyleGAN2Generator(network, noise="const")
    generator.assumed = ASSUMED
    return ForeignFile(generator, archive, places, FAMILY, candidate)


def check_filters(archive: Archive, state: Mapping[str, Placed]) -> None:
    """Refuse a network whose low-pass filter is another than ours.

    Raises:
        ValueError: It is.
    """
    ours, known = Blur().taps, set()
    for name, tensor in state.items():
        if not name.endswith(FILTER) or tensor in known:
            continue
        known.add(tensor)
        if tensor.shape != tuple(ours.shape) or not archive.read(tensor).allclose(ours):
            raise ValueError(f"{archive.path} was trained with another low-pass filter, first in {name}")


def architecture_of(places: Mapping[str, Placed], family: str, archive: Archive) -> dict[str, Any]:
    """The fields of a `Design` that our names of a StyleGAN2's tensors and their shapes say.

    Raises:
        ValueError: It is not complete.
    """
    found = (re.fullmatch(r"synthesis\.b(\d{1,5})\.conv1\.weight", name) for name in places)
    sides = sorted(int(each[1]) for each in found if each)
    if max(sides, default=0) not in range(4, LARGEST_SIDE + 1):
        raise ValueError(
            f"{archive.path} is not a complete {family}: it draws images of {max(sides, default=0)} pixels a side"
        )
    depth = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in places)
    embedding = places.get("mapping.embed.weight")
    width = embedding.shape[0] if embedding else 0
    return {
        "z_dim": places["mapping.fc0.weight"].shape[1] - width,
        "w_dim": places[f"mapping.fc{depth - 1}.weight"].shape[0],
        "mapping_layers": depth,
        "channels": {side: places[f"synthesis.b{side}.conv1.weight"].shape[0] for side in sides},
        "architecture": _architecture(places, sides),
        "first_height": places["synthesis.b4.const"].shape[-2],
        "first_width": places["synthesis.b4.const"].shape[-1],
        "colours": places[f"synthesis.b{sides[-1]}.torgb.weight"].shape[0],
        "c_dim": embedding.shape[1] if embedding else 0,
        "embed_dim": width or None,
    }


def _architecture(places: Mapping[str, Placed], sides: Sequence[int]) -> str:
    if f"synthesis.b{sides[-1]}.skip.weight" in places:
        return "resnet"
    return "skip" if "synthesis.b4.torgb.weight" in places else "orig"
