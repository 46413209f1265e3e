"""ProgressiveGAN files of the dissection papers, in their present and in their older tensor names."""

import re

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.proggan import ProgressiveGAN
from rewrite.generators.wrapped import wrap

# Two for each side from 4 to at most 4096.
MOST_LAYERS = 22
FAMILY = "ProgressiveGAN of the dissection papers"


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: by its names."""
    return "layer1.conv.weight" in candidate.state or "features.0.conv.weight" in candidate.state


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete.
    """
    state = _state(candidate)
    layers = 0
    while f"layer{layers + 1}.conv.weight" in state:
        layers += 1
    weights = [state[f"layer{number + 1}.conv.weight"].shape for number in range(layers)]
    if not 2 <= layers <= MOST_LAYERS or layers % 2 or any(len(shape) != 4 for shape in weights):
        raise ValueError(f"{archive.path} is not a complete {FAMILY}: it has {layers} layers")
    sizes = [weights[0][1], *(shape[0] for shape in weights[::2])]
    places = {_renamed(name, 4 * 2 ** (layers // 2 - 1)): tensor for name, tensor in state.items()}
    network = read_state(archive, lambda: ProgressiveGAN(sizes), places, FAMILY)
    generator = wrap(network.eval().requires_grad_(False), sizes[0])
    return ForeignFile(generator, archive, places, FAMILY, candidate)


def _state(candidate: Candidate) -> dict[str, Placed]:
    state = candidate.state
    return {re.sub(r"^features\.(\d+)\.", _counted_from_one, name): value for name, value in state.items()}


def _counted_from_one(found: re.Match) -> str:
    return f"layer{int(found[1]) + 1}."


def _renamed(name: str, side: int) -> str:
    """The output layer of older files does not say its side."""
    return re.sub(r"^output\.", f"output_{side}x{side}.", name)
