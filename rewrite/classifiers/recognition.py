"""Which network of torchvision a state dict is of, by the names and shapes of its tensors."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec

from rewrite.checkpoints.foreign import hollow, shapes
from rewrite.classifiers.libraries import build

Shapes = Mapping[str, tuple[int, ...]]
# What torchvision calls the weights that score the classes. To import it and to build its networks takes seconds, which
# no file of another kind is worth.
SCORES = re.compile(r"(fc|head|heads\.head|classifier(\.\d)?)\.weight")
COUNTER = "num_batches_tracked"


def recognised(found: Shapes) -> str | None:
    """The first network of torchvision with these tensors, whatever the number of its classes; None if there is none.

    Networks of RegNet are not among them: their design is only known when they are built, which takes seconds each.

    Args:
        found: The shape of each tensor.
    """
    if not any(SCORES.fullmatch(name) for name in found) or find_spec("torchvision") is None:
        return None
    from torchvision import models

    given = {name: shape for name, shape in found.items() if not name.endswith(COUNTER)}
    names = models.list_models(module=models)
    return next((f"torchvision:{name}" for name in names if _fits(_shapes_of(name), given)), None)


@cache
def _shapes_of(name: str) -> Shapes:
    """The shape of each tensor of a network of torchvision; none where its widths are computed by tensors."""
    try:
        network = hollow(lambda: build("torchvision", name).network)
    except NotImplementedError:  # a tensor has no numbers here
        return {}
    return {name: shape for name, shape in shapes(network).items() if not name.endswith(COUNTER)}


def _fits(wanted: Shapes, given: Shapes) -> bool:
    """Whether tensors are those of a network, but for the number of its classes."""
    if wanted.keys() != given.keys():
        return False
    head = list(wanted)[-1].rpartition(".")[0]
    return all(given[name] == shape for name, shape in wanted.items() if name.rpartition(".")[0] != head)
