"""A first guess at the importance of all units at once: one pass and one gradient instead of a pass for each unit.

Without a unit, the margin between the two likeliest classes moves by about its activation times the gradient there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dissect.roles.tally import Tally
from dissect.sources.classes import ClassedPictures
from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.runs import Stopped
from rewrite.generators.maps import units_axis


def screened(classifier: Classifier, part: str, pictures: ClassedPictures, numbers: Sequence[int]) -> Tally:
    """Guess what is named what with each unit off, to the first order.

    Args:
        classifier: The classifier.
        part: Path of the part.
        pictures: Where they are from.
        numbers: The pictures; at least one.
    """
    with torch.no_grad():
        stopped = classifier.stop(part, pictures.images(numbers))
    return guessed(margins_of(classifier, part, stopped), len(classifier.classes), pictures.classes(numbers))


class Margins(NamedTuple):
    """How far the likeliest class of each picture is ahead of the second.

    Attributes:
        added: What each unit's activation adds to that, to the first order.
        margin: By how much it is ahead.
        classes: The numbers of both.
    """

    added: Float[Tensor, "images units"]
    margin: Float[Tensor, " images"]
    classes: Int64[Tensor, "images 2"]


def guessed(found: Margins, classes: int, truth: Int64[Tensor, " images"]) -> Tally:
    """What pictures would be named with each unit off, to the first order.

    Args:
        found: Their margins.
        classes: How many classes there are.
        truth: The number of the class of each picture.
    """
    tally = Tally(found.added.shape[1], classes)
    tally.begin(truth)
    for unit in range(found.added.shape[1]):
        tally.add_margins(unit, found.margin - found.added[:, unit], found.classes, truth)
    return tally


def margins_of(classifier: Classifier, part: str, stopped: Stopped) -> Margins:
    """The margins of pictures whose run has stopped at a part."""
    output = stopped.output.detach().requires_grad_()
    with torch.enable_grad():
        # A copy: later modules may write into what they are given.
        scores = classifier.go_on(part, stopped.state, output.clone())
        likeliest = scores.topk(2, dim=1)
        margin = likeliest.values[:, 0] - likeliest.values[:, 1]
        (slope,) = torch.autograd.grad(margin.sum(), output)
    added = (output.detach() * slope).movedim(units_axis(output), 1)
    added = added.reshape(*added.shape[:2], -1)
    return Margins(added.sum(dim=2).double().cpu(), margin.detach().double().cpu(), likeliest.indices.cpu())
