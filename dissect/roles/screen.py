"""A first guess at the importance of all units at once: one pass and one gradient instead of a pass for each unit.

Without a unit, the margin between the two likeliest classes moves by about its activation times the gradient there.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dissect.roles.tally import Tally
from dissect.sources.classes import ClassedPictures
from rewrite.classifiers.classifier import Classifier
from rewrite.generators.maps import units_axis


def screened(classifier: Classifier, part: str, pictures: ClassedPictures, numbers: Sequence[int]) -> Tally:
    """Guess what is named what with each unit off, to the first order.

    Args:
        classifier: The classifier.
        part: Path of the part.
        pictures: Where they are from.
        numbers: The pictures; at least one.
    """
    lost, margin, classes = _margins(classifier, part, pictures.images(numbers))
    tally, truth = Tally(lost.shape[1], len(classifier.classes)), pictures.classes(numbers)
    tally.begin(truth)
    for unit in range(lost.shape[1]):
        tally.add_margins(unit, margin - lost[:, unit], classes, truth)
    return tally


def _margins(classifier: Classifier, part: str, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What each unit's activation adds to the margin of the likeliest class, the margin, and both classes."""
    with torch.no_grad():
        state, _, output = classifier.stop(part, images)
    output = output.detach().requires_grad_()
    with torch.enable_grad():
        # A copy: later modules may write into what they are given.
        scores = classifier.go_on(part, state, output.clone())
        likeliest = scores.topk(2, dim=1)
        margin = likeliest.values[:, 0] - likeliest.values[:, 1]
        (slope,) = torch.autograd.grad(margin.sum(), output)
    added = (output.detach() * slope).movedim(units_axis(output), 1)
    added = added.reshape(*added.shape[:2], -1)
    return added.sum(dim=2).double().cpu(), margin.detach().double().cpu(), likeliest.indices.cpu()
