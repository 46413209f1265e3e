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
# Where families keep them, so that no network is built for a file whose tensors have other names: that takes a tenth of
# a second and more each. Those of other families are built.
FAMILIES = {
    "classifier": (
        "alexnet",
        "convnext",
        "densenet",
        "efficientnet",
        "maxvit",
        "mnasnet",
        "mobilenet",
        "squeezenet",
        "vgg",
    ),
    "fc": ("googlenet", "inception", "resnet", "resnext", "shufflenet", "wide_resnet"),
    "head": ("swin",),
    "heads": ("vit",),
}
# The widths of RegNets are computed by tensors.
UNKNOWN = "regnet"
# No network of torchvision has fewer than AlexNet.
LEAST_TENSORS = 16


def recognised(found: Shapes) -> str | None:
    """The first network of torchvision with these tensors, whatever the number of its classes; None if there is none.

    Networks of RegNet are not among them: their design is only known when they are built, which takes seconds each.

    Args:
        found: The shape of each tensor.
    """
    given = {name: shape for name, shape in found.items() if not name.endswith(COUNTER)}
    if not any(SCORES.fullmatch(name) for name in given) or len(given) < LEAST_TENSORS:
        return None
    if find_spec("torchvision") is None:
        return None
    from torchvision import models

    names = [name for name in models.list_models(module=models) if _may_fit(name, given)]
    return next((f"torchvision:{name}" for name in names if _fits(_shapes_of(name), given)), None)


def _may_fit(name: str, given: Shapes) -> bool:
    """Whether a network is worth building."""
    parts = {each.partition(".")[0] for each in given}
    kept = [part for part, families in FAMILIES.items() if name.startswith(families)]
    return parts.issuperset(kept) and not name.startswith(UNKNOWN)


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
