"""What each unit does on each picture: its peak, and what the picture is named without it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int16, Int64
from torch import Tensor

from dissect.roles.ablations import Ablations, ablations
from dissect.roles.detectors import peaks_in
from dissect.roles.following import NextLayer, next_layer
from dissect.sources.classes import ClassedPictures
from rewrite.classifiers.classifier import Classifier
from rewrite.storage.ledger import Ledger, Tensors

TRIED = 4
STAGE = "units off"


@dataclass(frozen=True)
class Responses:
    """What units do on pictures.

    Attributes:
        numbers: The pictures.
        truth: The number of the class of each.
        peaks: The greatest activation of each unit in each picture.
        named, sure: What each picture is named, and the softmax of its own class.
        named_without, sure_without: The same with each unit off.
    """

    numbers: Sequence[int]
    truth: Int64[Tensor, " pictures"]
    peaks: Float[Tensor, "pictures units"]
    named: Int16[Tensor, " pictures"]
    sure: Float[Tensor, " pictures"]
    named_without: Int16[Tensor, "pictures units"]
    sure_without: Float[Tensor, "pictures units"]

    @property
    def units(self) -> int:
        """How many units there are."""
        return self.peaks.shape[1]

    @property
    def lost(self) -> Float[Tensor, "pictures units"]:
        """How much less sure each picture's own class is without each unit."""
        return self.sure[:, None] - self.sure_without

    def part(self, chosen: slice) -> "Responses":
        """Those of some of the pictures."""
        each = (self.truth, self.peaks, self.named, self.sure, self.named_without, self.sure_without)
        return Responses(self.numbers[chosen], *(tensor[chosen] for tensor in each))


class Prefix:
    """Pictures that have run up to a part of a classifier.

    Args:
        classifier: The classifier.
        part: Path of any part that gives maps, vectors or tokens.
        pictures: Where pictures are from.
        numbers: Some of them, on which it is tried whether what follows the part can be updated.
    """

    def __init__(self, classifier: Classifier, part: str, pictures: ClassedPictures, numbers: Sequence[int]):
        self.classifier, self.part, self.pictures = classifier, part, pictures
        self.following: NextLayer | None = next_layer(classifier, part, pictures.images(numbers[:TRIED]))

    def peaks(self, numbers: Sequence[int]) -> Float[Tensor, "pictures units"]:
        """The greatest activation of each unit in each picture."""
        return peaks_in(self.classifier, self.part, self.pictures.images(numbers))

    def started(self, numbers: Sequence[int]) -> Ablations:
        """Runs of pictures that go on with units off."""
        return ablations(self.classifier, self.part, self.pictures.images(numbers), self.following)


@torch.no_grad()
def find_responses(prefix: Prefix, numbers: Sequence[int], ledger: Ledger) -> Responses:
    """Measure every unit on every picture.

    Args:
        prefix: The part, and where the pictures are from.
        numbers: The pictures.
        ledger: Where what is known so far is kept.
    """

    def measure(places: Sequence[int]) -> Tensors:
        return _measured(prefix, [numbers[place] for place in places])

    found: Mapping[str, Any] = ledger.over(STAGE, range(len(numbers)), measure, join=joined)
    return Responses(numbers, prefix.pictures.classes(numbers), **found)


def named_and_sure(scores: Float[Tensor, "images classes"], truth: Tensor) -> tuple[Tensor, Tensor]:
    """What pictures are named, and the softmax of their own classes."""
    scores = scores.cpu().float()
    return scores.argmax(dim=1).short(), scores.softmax(dim=1).gather(1, truth[:, None])[:, 0]


def _measured(prefix: Prefix, numbers: Sequence[int]) -> Tensors:
    truth, peaks = prefix.pictures.classes(numbers), prefix.peaks(numbers)
    started = prefix.started(numbers)
    named, sure = named_and_sure(started.whole, truth)
    without = [named_and_sure(started.without([unit]), truth) for unit in range(peaks.shape[1])]
    return {
        "peaks": peaks,
        "named": named,
        "sure": sure,
        "named_without": torch.stack([each for each, _ in without], dim=1),
        "sure_without": torch.stack([each for _, each in without], dim=1),
    }


def joined(ours: Tensors, theirs: Tensors) -> Tensors:
    """What was found of some pictures and of those that follow them."""
    return {name: torch.cat([each, theirs[name]]) for name, each in ours.items()}
