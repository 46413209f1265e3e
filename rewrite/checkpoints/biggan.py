"""BigGAN files of its authors' PyTorch code (`G_ema.pth`), whose weights are under a spectral norm of their own.

That norm divides W by |W' v|, where v is the direction of u W and u a vector in the file. An edit is of what it gives:
an edited W goes back beside a u for which |W' v| is one. There is such a u if singular values of W lie on both sides of
one, as those of a trained network nearly do: the largest was divided by about itself. Where there is none, all weights
are written plain, into a state dict, which the authors' code reads without its norm (`G_param`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, Network, read_state
from rewrite.checkpoints.names import NamePath
from rewrite.checkpoints.states import BY_HAND, LARGEST_SIDE
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.biggan import BigDesign, BigGAN, BigGANGenerator

FAMILY = "BigGAN of its authors' PyTorch code"
NAMES = ("shared.weight", "linear.weight", "blocks.0.0.conv1.weight", "output_layer.2.weight")
DEEP = "blocks.0.0.conv4.weight"
MOST_BLOCKS = 10
VECTOR, LOGGED = "u0", "sv0"
CLOSE = 1e-6


class BeyondNormError(ValueError):
    """A weight that no vector of the spectral norm gives."""


@dataclass(frozen=True)
class BigFile(ForeignFile):
    """An opened BigGAN, whose edited weights take a vector of their spectral norm with them."""

    def state(self, tensors: Mapping[str, Tensor]) -> dict[NamePath, Tensor]:
        """As of any file; without spectral norm where that allows no such weight."""
        try:
            return super().state(tensors)
        except BeyondNormError:
            ours = {placed.where: name for name, placed in self.places.items()}
            plain = {**self.generator.module.state_dict(), **tensors}
            named = ((name, ours[placed.where]) for name, placed in self.names().items())
            return {name: plain[mine].clone() for name, mine in named if mine in plain}

    def _placed(self, tensors: Mapping[str, Tensor]) -> list[tuple[Placed, Tensor]]:
        vectors = {}
        for name, weight in tensors.items():
            beside = name.removesuffix("weight") + VECTOR
            if beside in self.places:
                vectors[beside] = vector_for(weight, f"{self.path} cannot hold this edit of {name}")[None]
        return super()._placed({**tensors, **vectors})


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network, and no BigGAN-deep: by its names."""
    return all(name in candidate.state for name in NAMES) and DEEP not in candidate.state


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete, or has parts that are not known here.
    """
    places = candidate.state
    design = _design(archive.path, places)
    network = unnormed(archive, places, lambda: BigGAN(design), FAMILY)
    return BigFile(BigGANGenerator(network), archive, places, FAMILY, candidate)


def unnormed(archive: Archive, places: Mapping[str, Placed], build: Callable[[], Network], family: str) -> Network:
    """A network of the authors, with the weights that their spectral norm gives.

    Raises:
        ValueError: It is not complete, or has parts that are not known here.
    """
    network = read_state(archive, build, places, family)
    known = set(network.state_dict())
    normed = [name for name in known if f"{name.removesuffix('weight')}{VECTOR}" in places and name.endswith("weight")]
    beside = {name.removesuffix("weight") + end for name in normed for end in (VECTOR, LOGGED)}
    unknown = sorted(set(places) - known - beside)
    if unknown:
        raise ValueError(f"{archive.path} is a {family} with {unknown[0]}, which is not read here: {BY_HAND}")
    with torch.no_grad():
        for name in normed:
            weight = network.get_parameter(name)
            weight.div_(size_of(weight, archive.read(places[name.removesuffix("weight") + VECTOR])))
    return network.eval().requires_grad_(False)


def size_of(weight: Float[Tensor, "rows ..."], vector: Float[Tensor, "#one rows"]) -> Tensor:
    """What the norm divides a weight by: one step of power iteration from the vector."""
    matrix = weight.flatten(1)
    towards = F.normalize(vector.to(matrix) @ matrix)
    return (towards @ matrix.T).norm()


def vector_for(weight: Float[Tensor, "rows ..."], refused: str) -> Float[Tensor, " rows"]:
    """A vector for which the norm divides a weight by one: a mixture of two of its singular vectors.

    Args:
        weight: The weight.
        refused: How the sentence begins that says that there is none.

    Raises:
        BeyondNormError: There is none, as the singular values of the weight are all on one side of one.
    """
    matrix = weight.flatten(1).double()
    squares, vectors = torch.linalg.eigh(matrix @ matrix.T)
    below = int((squares <= 1).sum()) - 1
    most, least = float(squares[-1]), float(squares[max(below, 0)])
    if most < 1 - CLOSE or least > 1 + CLOSE or least <= 0:
        raise BeyondNormError(
            f"{refused}: its singular values would all be {'less' if most < 1 else 'more'} than 1, which spectral "
            "normalisation does not allow; export --as state-dict, which holds plain weights then"
        )
    share = 1.0 if most - least < CLOSE else min(1.0, max(0.0, (1 - least) / (most - least)))
    ends = ((vectors[:, -1], share, most), (vectors[:, max(below, 0)], 1 - share, least))
    return torch.stack([end * math.sqrt(part / square) for end, part, square in ends]).sum(dim=0).float()


def _design(path: Path, places: Mapping[str, Placed]) -> BigDesign:
    blocks = 0
    while f"blocks.{blocks}.0.conv1.weight" in places:
        blocks += 1
    kernels = [places[f"blocks.{number}.0.conv1.weight"].shape for number in range(min(blocks, MOST_BLOCKS + 1))]
    channels = (kernels[0][1], *(shape[0] for shape in kernels))
    if blocks > MOST_BLOCKS or 0 in channels or any(after[1] != before[0] for before, after in pairwise(kernels)):
        raise ValueError(f"{path} is not a {FAMILY}: its blocks do not follow one another")
    classes, shared = places["shared.weight"].shape
    outputs, chunk = places["linear.weight"].shape
    side = math.isqrt(outputs // channels[0])
    if not 0 < side << blocks <= LARGEST_SIDE or classes < 1:
        raise ValueError(f"{path} is not a {FAMILY}: it would draw images of {side << blocks} pixels a side")
    condition = places["blocks.0.0.bn1.gain.weight"].shape[1]
    attends = tuple(number for number in range(blocks) if f"blocks.{number}.1.theta.weight" in places)
    return BigDesign(classes, shared, chunk, condition != shared, side, channels, attends)
