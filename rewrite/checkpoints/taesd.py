"""Decoders of TAESD: `taesd_decoder.pth` and its like, and diffusers' `AutoencoderTiny`.

A state dict has names by place: `1.weight`, `3.conv.0.weight`; one less in diffusers, which bounds latents outside.
"""

import re
from collections.abc import Mapping

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.states import BY_HAND, LARGEST_SIDE
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.decoders import USUAL, DecoderGenerator
from rewrite.generators.taesd import Part, TinyDecoder

FAMILY = "decoder of TAESD"
NAMES = re.compile(r"(\d{1,3})\.(conv\.[024]\.|skip\.)?(weight|bias)")
MOST_PLACES = 200


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: its first parts are a convolution, ReLU and a block."""
    return _first(candidate.state) is not None and all(NAMES.fullmatch(name) for name in candidate.state)


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete, or built in a way that is not known here.
    """
    state, first = candidate.state, _first(candidate.state)
    assert first is not None
    numbers = sorted({int(name.partition(".")[0]) for name in state})
    if numbers[-1] > MOST_PLACES:
        raise ValueError(f"{archive.path} is not a {FAMILY}: it has more than {MOST_PLACES} parts")
    parts = {number: _part(state, number) for number in numbers}
    doublings = [number for number in range(first + 2, numbers[-1]) if number not in parts]
    if any(parts.get(number + 1, parts[first]).bias for number in doublings):
        raise ValueError(f"{archive.path} is a {FAMILY} with parts at {doublings} that are not known here: {BY_HAND}")
    size = candidate.size or USUAL
    if max(size) * 2 ** len(doublings) > LARGEST_SIDE or parts[numbers[-1]].outputs != 3:
        raise ValueError(
            f"{archive.path} is not a {FAMILY}: it would not draw three colours, at most {LARGEST_SIDE} pixels a side"
        )
    places = {f"layers.{name}": tensor for name, tensor in state.items()}
    network = read_state(archive, lambda: TinyDecoder(parts), places, FAMILY)
    generator = DecoderGenerator(network.eval().requires_grad_(False), parts[first].inputs, size)
    return ForeignFile(generator, archive, places, FAMILY, candidate)


def _first(state: Mapping[str, Placed]) -> int | None:
    """The place of the first convolution; None where there is none as in TAESD."""
    wanted = ("{0}.weight", "{2}.conv.0.weight", "{2}.conv.2.weight", "{2}.conv.4.weight")
    for place in (0, 1):
        names = [name.format(place, place + 1, place + 2) for name in wanted]
        shapes = [state[name].shape for name in names if name in state]
        if len(shapes) == len(wanted) and all(len(shape) == 4 for shape in shapes):
            return place if f"{place + 1}.weight" not in state else None
    return None


def _part(state: Mapping[str, Placed], number: int) -> Part:
    block = f"{number}.conv.0.weight" in state
    outputs, inputs = state[f"{number}.conv.0.weight" if block else f"{number}.weight"].shape[:2]
    return Part(inputs, outputs, block, block or f"{number}.bias" in state)
