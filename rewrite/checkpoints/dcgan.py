"""DCGAN files: a chain of transposed convolutions under any names, whose structure follows from the tensors' shapes.

Such are the files of PyTorch's DCGAN example (`main.0.weight`, `main.1.running_mean`, …) and of the many scripts made
after it. What a state dict cannot say is taken to be as in the paper: ReLU between the layers, tanh after the last,
batch normalisation with torch's own epsilon. What shapes leave open is refused.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from torch import Tensor

from rewrite.checkpoints import convolutional
from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.made import Made, Named
from rewrite.checkpoints.persistent import attributes_of, modules_of
from rewrite.checkpoints.states import BY_HAND, LARGEST_SIDE, check_plain
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.dcgan import DCGAN, Projection, Stage
from rewrite.generators.wrapped import wrap

FAMILY = "DCGAN"
ASSUMED = ("ReLU follows each layer but the last, and tanh that one",)
COLOURS = (1, 3)
# A chain that doubles the side to 4096 has 13 layers of up to 7 tensors, and a linear one.
MOST_TENSORS = 500
# Kernels with which one stride alone is in use: stride, padding and output padding that double the side.
DOUBLING = {2: (2, 0, 0), 4: (2, 1, 0), 5: (2, 2, 1)}
COUNTER = "num_batches_tracked"
LINEAR = {"weight", "bias"}
# Of a trained network of classes, labels weighed 2 to 3 times as much as the largest of the noise's inputs.
LABELLED = 1.5
NUMBER = re.compile(r"\d+")
ACTIVATIONS = ("ReLU", "Tanh")
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


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: each kernel reads the channels that another writes, down to colours."""
    if not candidate.plain or convolutional.looks_like(candidate.state):
        return False
    return _ordered(candidate.state) is not None


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete, or its shapes leave open how it is built.
    """
    state = dict(_ordered(candidate.state) or {})
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
    _check_module(archive.path, candidate, dict(zip([unit.name for unit in kernels], stages, strict=True)))
    places = dict(_places(units, projected))
    network = read_state(archive, lambda: DCGAN(stages, projection), places, FAMILY, (COUNTER,))
    first = network.get_parameter(f"{'project.linear' if projection else 'layer1.conv'}.weight")
    _check_inputs(archive.path, first.T if projection else first)
    z_dim = projection.z_dim if projection else stages[0].inputs
    generator = wrap(network.eval().requires_grad_(False), z_dim)
    generator.assumed = ASSUMED
    return ForeignFile(generator, archive, places, FAMILY, candidate)


def _ordered(state: Parts) -> Parts | None:
    """The tensors in the order in which their layers run; None if no order of theirs makes a chain down to colours.

    Files have them in the order in which they were made, or in that of their names (safetensors), where 10 comes before
    2. Where neither is a chain, the channels say which layer follows which.
    """
    if len(state) > MOST_TENSORS:
        return None
    return next((each for order in (dict, _by_number, _by_channels) if _chained(each := order(state))), None)


def _chained(state: Parts) -> bool:
    shapes = [tensor.shape for tensor in state.values() if len(tensor.shape) == 4]
    follow = all(shape[1] == following[0] for shape, following in pairwise(shapes))
    return len(shapes) > 1 and follow and shapes[-1][1] in COLOURS and _normed(state)


def _normed(state: Parts) -> bool:
    """Whether each batch normalisation comes after a layer."""
    kinds = ["norm" if "running_mean" in parts else "layer" for parts in _modules(state).values()]
    return ("norm", "norm") not in pairwise(["norm", *kinds])


def _by_number(state: Parts) -> Parts:
    """In the order of names, whose numbers count as numbers."""
    return {name: state[name] for name in sorted(state, key=lambda name: NUMBER.sub(_padded, name))}


def _padded(number: re.Match) -> str:
    return number[0].rjust(12, "0")


def _by_channels(state: Parts) -> Parts:
    """In the order that the channels say; without layers of which that is not clear."""
    modules = _modules(state)
    norms = {name: parts for name, parts in modules.items() if "running_mean" in parts}
    layers = {name: parts["weight"].shape for name, parts in modules.items() if name not in norms and "weight" in parts}
    order, after = _chain(layers), {}
    writers = _writers(order)
    for norm, parts in norms.items():
        before = writers.get(parts["running_mean"].shape[:1], [])
        if len(before) != 1 or before[0] in after:
            return {}
        after[before[0]] = [norm]
    ran = [each for name in order for each in (name, *after.get(name, []))]
    found = {f"{module}.{part}".lstrip("."): tensor for module in ran for part, tensor in modules[module].items()}
    return found if len(found) == len(state) else {}


def _chain(layers: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Linear layers, and convolutions as far as one alone reads what the last one writes; with the weights' shapes."""
    order: dict[str, tuple[int, ...]] = {name: shape for name, shape in layers.items() if len(shape) == 2}
    readers: dict[int, list[str]] = {}
    for name, shape in layers.items():
        if len(shape) == 4:
            readers.setdefault(shape[0], []).append(name)
    # Read backwards, a discriminator is a chain too: from its one number to the colours that it reads.
    written = {*COLOURS, *(layers[name][1] for names in readers.values() for name in names)}
    reads = [name for count, names in readers.items() if count not in written for name in names]
    while len(reads) == 1 and reads[0] not in order:
        order[reads[0]] = shape = layers[reads[0]]
        reads = readers.get(shape[1], [])
    return order


def _writers(order: Mapping[str, tuple[int, ...]]) -> dict[tuple[int, ...], list[str]]:
    """The layers that write a number of channels: a convolution its outputs, a linear one also those of the next."""
    following = {shape[0] for shape in list(order.values())[1:2]}
    writers: dict[tuple[int, ...], list[str]] = {}
    for name, shape in order.items():
        for count in {shape[1]} if len(shape) == 4 else {shape[0], *following}:
            writers.setdefault((count,), []).append(name)
    return writers


def _check_module(path: Path, candidate: Candidate, stages: Mapping[str, Stage]) -> None:
    """Refuse a pickled module, which says more than a state dict, where it is built in another way than ours."""
    if not isinstance(candidate.content, Made):
        return
    modules = dict(modules_of(candidate.content))
    for name, module in modules.items():
        kind = module.named.name if isinstance(module.named, Named) else ""
        if "torch.nn.modules.activation" in str(module.named) and kind not in ACTIVATIONS:
            raise ValueError(f"{path} is a {FAMILY} with {kind} at {name}, which is not read here: {BY_HAND}")
    for name, stage in stages.items():
        made = attributes_of(modules[candidate.names[f"{name}.weight"].removesuffix(".weight")])
        given = [made.get(key, (number,))[0] for key, number in (("stride", stage.stride), ("padding", stage.padding))]
        if given != [stage.stride, stage.padding]:
            raise ValueError(f"{path} is a {FAMILY} whose {name} has stride and padding {given}, not as is usual")


def _check_inputs(path: Path, weight: Tensor) -> None:
    """Refuse a network whose first or last inputs weigh much more than all others: labels, which are no noise."""
    sizes = weight.flatten(1).norm(dim=1)
    for end, inputs in (("last", sizes.flip(0)), ("first", sizes)):
        count = int((inputs > LABELLED * inputs[len(inputs) // 2 :].max()).long().cumprod(0).sum())
        if count > 1 and inputs[:count].min() > LABELLED * inputs[count:].max():
            raise ValueError(
                f"{path} looks like a {FAMILY} of {count} classes: the {end} {count} of its {len(sizes)} inputs weigh "
                f"more than all others, as labels do; {BY_HAND}, with latents=… giving noise and labels"
            )


def _open(path: Path, what: str) -> ValueError:
    return ValueError(f"{path} looks like a {FAMILY}, but its shapes do not say {what}: {BY_HAND}")


def _units(state: Mapping[str, Placed], path: Path) -> list[Unit]:
    """The layers in the order of the file, which is the order in which they were made."""
    units: list[Unit] = []
    for name, parts in _modules(state).items():
        if any(0 in tensor.shape for tensor in parts.values()):
            raise ValueError(f"{path} is not a complete {FAMILY}: {name} holds a tensor without numbers")
        if set(parts) <= LINEAR and "weight" in parts and len(parts["weight"].shape) in (2, 4):
            units.append(Unit(name, parts, {}))
        elif set(parts) <= NORM and "running_mean" in parts and units and not units[-1].norm:
            units[-1].norm = parts
        else:
            raise _open(path, f"what {name or 'a tensor without a module'} does")
    return units


def _modules(state: Parts) -> dict[str, dict[str, Placed]]:
    """The tensors of each module."""
    modules: dict[str, dict[str, Placed]] = {}
    for name, tensor in state.items():
        module, _, part = name.rpartition(".")
        modules.setdefault(module, {})[part] = tensor
    return modules


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
