"""The scores of images with units of one part off, without running again what does not change.

What comes before the part runs once. Where the next layer reads each unit apart from all others, it is not run again
either: what it reads of a unit is taken off what it wrote, which is an update of rank one for a linear layer.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from dissect.roles.following import NextLayer
from rewrite.classifiers.classifier import Classifier
from rewrite.generators.maps import units_axis

Scores = Float[Tensor, "images classes"]


class Ablations(ABC):
    """Scores of some images with units of one part off.

    Attributes:
        whole: The scores with all units on.
    """

    whole: Scores

    @abstractmethod
    def without(self, units: Sequence[int]) -> Scores:
        """The scores with some units at zero."""


class Rerun(Ablations):
    """Everything after the part runs again."""

    def __init__(self, classifier: Classifier, part: str, images: Tensor):
        self.classifier, self.part = classifier, part
        self.state, _, self.output = classifier.stop(part, images)
        self.axis = units_axis(self.output)
        self.whole = classifier.go_on(part, self.state, self.output.clone())

    def without(self, units: Sequence[int]) -> Scores:
        off = torch.tensor(units, device=self.output.device)
        return self.classifier.go_on(self.part, self.state, self.output.index_fill(self.axis, off, 0))


class Updated(Ablations):
    """What the next layer reads of the units is taken off what it wrote; only what follows it runs again."""

    def __init__(self, classifier: Classifier, following: NextLayer, images: Tensor):
        self.classifier, self.name, self.width = classifier, following.name, following.width
        self.layer, self.weight = classifier.layer(self.name), classifier.weight(self.name)
        self.cut = classifier.cut(self.name, images)
        self.written = self.layer.apply(self.cut.features, self.weight)
        self.moved = self.cut.features - following.off
        self.whole = classifier.resume(self.name, self.cut, self.written)

    def without(self, units: Sequence[int]) -> Scores:
        read = torch.tensor([unit * self.width + i for unit in units for i in range(self.width)])
        read = read.to(self.moved.device)
        if self.layer.groups > 1:
            lost = torch.zeros_like(self.moved).index_copy(1, read, self.moved[:, read])
            taken = self.layer.apply(lost, self.weight)
        else:
            few = replace(self.layer, inputs=len(read))
            taken = few.apply(self.moved[:, read], self.weight[:, read])
        return self.classifier.resume(self.name, self.cut, self.written - taken)


def ablations(classifier: Classifier, part: str, images: Tensor, following: NextLayer | None) -> Ablations:
    """The cheaper of the two ways; see `next_layer`."""
    return Rerun(classifier, part, images) if following is None else Updated(classifier, following, images)
