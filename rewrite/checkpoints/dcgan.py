"""DCGAN files: a chain of transposed convolutions under any names, whose structure follows from the tensors' shapes.

Such are the files of PyTorch's DCGAN example (`main.0.weight`, `main.1.running_mean`, …) and of the many scripts made
after it. What a state dict cannot say is taken to be as in the paper: ReLU between the layers, tanh after the last,
batch normalisation with torch's own epsilon. What shapes leave open is refused.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.states import BY_HAND, LARGEST_SIDE, check_plain, generator_state
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.dcgan import DCGAN, Projection, Stage
from rewrite.generators.wrapped import wrap

FAMILY = "DCGAN"
COLOURS = (1, 3)
# Kernels with which one stride alone is in use: stride, padding and output padding that double the side.
DOUBLING = {2: (2, 0, 0), 4: (2, 1, 0), 5: (2, 2, 1)}
COUNTER = "num_batches_tracked"
LINEAR = {"weight", "bias"}
NORM = {"weight", "bias", "running_mean", "running_var", COUNTER}

Parts = Mapping[str, Placed]


@dataclass
class Unit:
    """A linear layer or a convolution as the file holds it, and the batch normalisation after it."""

    name: str
    parts: Parts
    norm: Parts

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its weight."""
        return self.parts["weight"].shape


def recognises(content: Any) -> bool:
    """Whether this is such a file: each kernel reads the channels that the one before it writes, down to colours."""
    shapes = [tensor.shape for tensor in generator_state(content).values() if len(tensor.shape) == 4]
    chained = all(shape[1] == following[0] for shape, following in pairwise(shapes))
    return len(shapes) > 1 and chained and shapes[-1][1] in COLOURS


def load(archive: Archive) -> ForeignFile:
    """Build the generator of such a file.

    Raises:
        ValueError: It is not complete, or its shapes leave open how it is built.
    """
    state = generator_state(archive.content)
    check_plain(state, archive.path)
    units = _units(state, archive.path)
    projected = len(units[0].shape) == 2
    kernels = units[projected:]
    if not kernels or any(len(unit.shape) != 4 for unit in kernels):
        raise _open(archive.path, "which linear layers it has between its inputs and its first map")
    projection = _projection(units[0], kernels[0].shape[0], archive.path) if projected else None
    stages = [_stage(unit, archive.path, first=not (projected or number)) for number, unit in enumerate(kernels)]
    side = projection.side if projection else 1
    for stage in stages:
        side = stage.side(side)
        if side > LARGEST_SIDE:
            raise ValueError(f"{archive.path} looks like a {FAMILY}, but of images over {LARGEST_SIDE} pixels a side")
    places = dict(_places(units, projected))
    network = read_state(archive, lambda: DCGAN(stages, projection), places, FAMILY, (COUNTER,))
    z_dim = projection.z_dim if projection else stages[0].inputs
    return ForeignFile(wrap(network.eval().requires_grad_(False), z_dim), archive, places, FAMILY)


def _open(path: Path, what: str) -> ValueError:
    return ValueError(f"{path} looks like a {FAMILY}, but its shapes do not say {what}: {BY_HAND}")


def _units(state: Mapping[str, Placed], path: Path) -> list[Unit]:
    """The layers in the order of the file, which is the order in which they were made."""
    modules: dict[str, dict[str, Placed]] = {}
    for name, tensor in state.items():
        module, _, part = name.rpartition(".")
        modules.setdefault(module, {})[part] = tensor
    units: list[Unit] = []
    for name, parts in modules.items():
        if any(0 in tensor.shape for tensor in parts.values()):
            raise ValueError(f"{path} is not a complete {FAMILY}: {name} holds a tensor without numbers")
        if set(parts) <= LINEAR and "weight" in parts and len(parts["weight"].shape) in (2, 4):
            units.append(Unit(name, parts, {}))
        elif set(parts) <= NORM and "running_mean" in parts and units and not units[-1].norm:
            units[-1].norm = parts
        else:
            raise _open(path, f"what {name or 'a tensor without a module'} does")
    return units


def _projection(unit: Unit, channels: int, path: Path) -> Projection:
    outputs, z_dim = unit.shape
    side = math.isqrt(outputs // channels) if channels else 0
    if side == 0 or channels * side**2 != outputs:
        raise _open(path, f"of which size the first map is, which {unit.name} makes")
    norm = math.prod(unit.norm["running_mean"].shape) if unit.norm else 0
    if norm not in (0, channels, outputs):
        raise _open(path, f"what the batch normalisation after {unit.name} normalises")
    return Projection(z_dim, channels, side, "bias" in unit.parts, norm)


def _stage(unit: Unit, path: Path, *, first: bool) -> Stage:
    inputs, outputs, height, width = unit.shape
    if unit.norm and unit.norm["running_mean"].shape != (outputs,):
        raise _open(path, f"which batch normalisation follows {unit.name}")
    known = height > 1 if first else height in DOUBLING
    if height != width or not known:
        raise _open(path, f"the stride of {unit.name}, whose kernel is {height}x{width}")
    step = (1, 0, 0) if first else DOUBLING[height]
    return Stage(inputs, outputs, height, *step, bias="bias" in unit.parts, norm=bool(unit.norm))


def _places(units: list[Unit], projected: bool) -> Iterator[tuple[str, Placed]]:
    """Our names and the tensors of the file."""
    for number, unit in enumerate(units):
        ours, kind = ("project", "linear") if projected and number == 0 else (f"layer{number + 1 - projected}", "conv")
        for part, tensor in unit.parts.items():
            yield f"{ours}.{kind}.{part}", tensor
        for part, tensor in unit.norm.items():
            yield f"{ours}.norm.{part}", tensor
