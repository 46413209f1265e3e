"""Units of a classifier off for good: a patch that is saved, stacked, taken off and exported like any other.

Where one layer alone writes the units, its rows for them become zero, and so does its bias there. Otherwise, where one
layer alone reads them, and reads nothing of units that are off, its columns for them become zero. Which of both holds
is not told from the network's design but tried on pictures: a patch is given only if it does what units at zero do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from dissect.causes.ablation import silent
from dissect.roles.ablations import Rerun
from dissect.roles.following import NextLayer, next_layer
from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.runs import TracedRun
from rewrite.patch import Patch, base_of

# Of the greatest score.
ALIKE = 1e-4


@torch.no_grad()
def off_patch(
    classifier: Classifier, part: str, units: Sequence[int], images: Float[Tensor, "images 3 height width"]
) -> Patch:
    """Switch units of a part of a classifier off for good.

    Args:
        classifier: The classifier.
        part: Path of the part.
        units: Which of its units.
        images: Some pictures, in [-1, 1], on which the patch is held against units at zero.

    Returns:
        The patch. Its forecast says which units are off, and how far scores with the patch are from scores with the
        units at zero (`largest`, the greatest over `images` pictures and classes).

    Raises:
        LookupError: The classifier has no such part.
        ValueError: There is no unit, one is named twice, the part has no such unit, or no single layer of this network
            switches them off.
    """
    wanted, units = Rerun(classifier, part, images), tuple(sorted(int(unit) for unit in units))
    count = wanted.output.shape[wanted.axis]
    wrong = [unit for unit in units if not 0 <= unit < count]
    if not units or len(set(units)) < len(units):
        raise ValueError(f"name at least one unit of {part} to switch off, and each once, got {list(units)}")
    if wrong:
        raise ValueError(f"part {part} has units 0 to {count - 1}, got {wrong[0]}")
    without = wanted.without(units)
    allowed = ALIKE * float(wanted.whole.abs().max())
    for patch in _tried(classifier, part, units, count, images):
        with patch.applied(classifier):
            largest = float((classifier.logits(images) - without).abs().max())
        if largest <= allowed:
            about = {"units": list(units), "units_of": part, "images": len(images), "largest": largest}
            return replace(patch, forecast=about)
    raise ValueError(
        f"no single layer of this network switches units of {part} off: other paths carry them, or a normalisation "
        "makes its own constant of them; ask about a part between two layers, such as the activation after one"
    )


def _tried(classifier: Classifier, part: str, units: Sequence[int], count: int, images: Tensor) -> Iterator[Patch]:
    """Patches that may switch the units off, those that are likelier first."""
    writer = _writer(classifier, part, count)
    if writer is not None:
        yield silent(classifier, classifier.layer(writer), units)
    following = next_layer(classifier, part, images[:4])
    if following is not None and classifier.layer(following.name).groups == 1:
        yield _unread(classifier, following, units)


def _writer(classifier: Classifier, part: str, count: int) -> str | None:
    """The last layer up to the part that writes as many units as the part gives."""
    run = classifier.run_of(part)
    before = [str(node.target) for node in run.before if node.op == "call_module"] if isinstance(run, TracedRun) else []
    names = [name for name in (*before, part) if name in classifier.layers]
    return names[-1] if names and classifier.layer(names[-1]).outputs == count else None


def _unread(classifier: Classifier, following: NextLayer, units: Sequence[int]) -> Patch:
    """The columns that read the units become zero."""
    layer, width = classifier.layer(following.name), following.width
    channels = torch.tensor([unit * width + i for unit in units for i in range(width)])
    columns = (channels[:, None] * layer.taps + torch.arange(layer.taps)).flatten()
    weight = classifier.weight(following.name)
    lost = -layer.matrix(weight.detach().cpu().float())[:, columns]
    chosen = torch.zeros(len(columns), layer.width)
    chosen[range(len(columns)), columns] = 1
    # Of two ways to write one matrix as a product, the one with fewer directions.
    thin = len(columns) <= layer.outputs
    return Patch(
        layer=layer.name,
        left=lost if thin else torch.eye(layer.outputs),
        right=chosen if thin else lost @ chosen,
        base=base_of(weight),
        model=classifier.fingerprint,
    )
