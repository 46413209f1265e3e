"""Which network of torchvision a state dict is of, by the names and shapes of its tensors."""

from collections.abc import Mapping
from importlib.util import find_spec

from torch import nn

from rewrite.checkpoints.foreign import hollow, shapes
from rewrite.classifiers.libraries import build

Shapes = Mapping[str, tuple[int, ...]]


def recognised(found: Shapes) -> str | None:
    """The first network of torchvision with these tensors, whatever the number of its classes; None if there is none.

    Networks of RegNet are not among them: their design is only known when they are built, which takes seconds each.

    Args:
        found: The shape of each tensor.
    """
    if find_spec("torchvision") is None:
        return None
    from torchvision import models

    for name in models.list_models(module=models):
        try:
            network = hollow(lambda name=name: build("torchvision", name).network)
        except NotImplementedError:  # it computes its widths by tensors, which have no numbers here
            continue
        if _fits(network, found):
            return f"torchvision:{name}"
    return None


def _fits(network: nn.Module, found: Shapes) -> bool:
    """Whether tensors are those of a network, but for the number of its classes."""
    wanted = {name: shape for name, shape in shapes(network).items() if not name.endswith("num_batches_tracked")}
    given = {name: shape for name, shape in found.items() if not name.endswith("num_batches_tracked")}
    if wanted.keys() != given.keys():
        return False
    head = list(wanted)[-1].rpartition(".")[0]
    return all(given[name] == shape for name, shape in wanted.items() if name.rpartition(".")[0] != head)
