"""The next layer after a part, where what it reads of a unit depends on that unit alone."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, fx

from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.runs import TracedRun
from rewrite.generators.maps import units_axis

TRIED_UNITS = 4
# Of what the layer reads.
ALIKE = 1e-6


@dataclass(frozen=True)
class NextLayer:
    """A layer through which all of a part goes, and which reads each unit apart from all others.

    Attributes:
        name: The layer.
        width: How many channels it reads of each unit.
        off: What it reads of the units when all are off.
    """

    name: str
    width: int
    off: Float[Tensor, "1 inputs height width"]


@torch.no_grad()
def next_layer(classifier: Classifier, part: str, images: Float[Tensor, "images 3 height width"]) -> NextLayer | None:
    """The next layer after a part; None where a unit reaches the scores past it, or is mixed with others before it.

    Args:
        classifier: The classifier.
        part: Path of the part.
        images: Some images, on which it is tried.
    """
    stopped, run = classifier.stop(part, images), classifier.run_of(part)
    name = _bottleneck(run, classifier) if isinstance(run, TracedRun) else None
    if name is None or stopped.output.ndim == 3:
        return None
    output = stopped.output

    def read(given: Tensor) -> Tensor:
        return _read_by(classifier, part, name, stopped.state, given)

    usual, off = read(output.clone()), read(torch.zeros_like(output))
    units, (width, rest) = output.shape[units_axis(output)], divmod(usual.shape[1], output.shape[1])
    if rest or not width:
        return None
    allowed = ALIKE * usual.abs().max()
    for unit in torch.linspace(0, units - 1, TRIED_UNITS).long().tolist():
        given, expected = output.clone(), usual.clone()
        given[:, unit] = 0
        own = slice(unit * width, (unit + 1) * width)
        expected[:, own] = off[:, own]
        if bool((read(given) - expected).abs().max() > allowed):
            return None
    if bool((off - off[:1]).abs().max() > allowed):
        return None
    return NextLayer(name, width, off[:1])


def _bottleneck(run: TracedRun, classifier: Classifier) -> str | None:
    """The first layer after the part without which nothing of the part reaches the scores."""
    for node in run.after:
        if node.op == "call_module" and node.target in classifier.layers and not _reaches(run.part, node):
            return str(node.target)
    return None


def _reaches(part: fx.Node, avoided: fx.Node) -> bool:
    """Whether a part reaches the output of its graph by another way than through one node."""
    waiting, seen = [part], {part, avoided}
    while waiting:
        for user in waiting.pop().users:
            if user.op == "output":
                return True
            if user not in seen:
                seen.add(user)
                waiting.append(user)
    return False


def _read_by(classifier: Classifier, part: str, name: str, state: object, output: Tensor) -> Tensor:
    """What a layer reads when a run goes on from what a part gives."""
    found: list[Tensor] = []
    stage = classifier.module.get_submodule(name)
    handle = stage.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0].clone()))
    try:
        classifier.go_on(part, state, output)
    finally:
        handle.remove()
    return classifier.features_of(name, found[0])
