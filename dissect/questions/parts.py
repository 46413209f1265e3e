"""The parts of a classifier whose units can be asked about."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rewrite.classifiers.classifier import Classifier
from rewrite.generators.maps import units_axis

LEAST_UNITS = 2


@dataclass(frozen=True)
class Part:
    """A part of a classifier that gives units.

    Attributes:
        name: Its path.
        units: How many units it gives.
        positions: At how many places of a picture each is read; 1 for vectors.
        pools: Whether it only gathers what another part gives.
    """

    name: str
    units: int
    positions: int
    pools: bool = False


@torch.no_grad()
def parts_of(classifier: Classifier) -> dict[str, Part]:
    """The parts that run once for a picture and give maps, vectors or tokens, by name, in the order in which they run.

    What is scored is not among them.
    """
    ran = list[tuple[str, tuple[int, ...]]]()
    modules = dict(classifier.module.named_modules())
    handles = [
        module.register_forward_hook(lambda module, given, output, name=name: ran.append((name, _shape(output))))
        for name, module in modules.items()
        if name and not isinstance(module, nn.Dropout)
    ]
    try:
        classifier.logits(torch.zeros(1, 3, *classifier.size))
    finally:
        for handle in handles:
            handle.remove()
    names = [name for name, _ in ran]
    found = [
        _part(name, modules[name], shape) for name, shape in ran if names.count(name) == 1 and 2 <= len(shape) <= 4
    ]
    return {part.name: part for part in found if part.units >= LEAST_UNITS and part.name != names[-1]}


def usual_part(parts: dict[str, Part]) -> str:
    """The part that is asked about first: the last one with maps, or else the last.

    Raises:
        ValueError: There is none.
    """
    if not parts:
        raise ValueError("this classifier has no part with units: none of its modules runs once and gives a tensor")
    maps = [part.name for part in parts.values() if part.positions > 1 and not part.pools]
    return maps[-1] if maps else list(parts)[-1]


def _shape(output: object) -> tuple[int, ...]:
    return tuple(output.shape) if isinstance(output, Tensor) else ()


# All kinds of pooling say so in their names, those of timm too.
def _part(name: str, module: nn.Module, shape: tuple[int, ...]) -> Part:
    axis = units_axis(torch.empty(shape, device="meta"))
    positions = 1
    for place, size in enumerate(shape):
        positions *= size if place not in (0, axis) else 1
    return Part(name, shape[axis], positions, "Pool" in type(module).__name__)
