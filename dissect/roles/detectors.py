"""Single units as detectors of classes: a picture is of the class where the unit's peak passes a level.

The level of each unit and class is chosen on some pictures, and how well it tells the class is counted on others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dissect.roles.accuracy import balanced_interval
from rewrite.classifiers.classifier import Classifier
from rewrite.generators.maps import units_axis
from rewrite.reports.interval import Interval


@dataclass(frozen=True)
class Detectors:
    """How well each unit alone tells each class.

    Attributes:
        levels: Above which peak a picture is of the class, chosen on the first pictures.
        chosen_by: The balanced accuracy there.
        hits: Of the other pictures, those of the class that pass the level.
        named: All of them that pass it.
        pictures: How many of the other pictures are of each class.
    """

    levels: Float[np.ndarray, "units classes"]
    chosen_by: Float[np.ndarray, "units classes"]
    hits: Int64[np.ndarray, "units classes"]
    named: Int64[np.ndarray, "units classes"]
    pictures: Int64[np.ndarray, " classes"]

    @classmethod
    def of(
        cls,
        peaks: tuple[Float[Tensor, "training units"], Float[Tensor, "test units"]],
        truth: tuple[Int64[Tensor, " training"], Int64[Tensor, " test"]],
        asked: Sequence[int],
    ) -> "Detectors":
        """Choose levels, and count what passes them.

        Args:
            peaks: The greatest activation of each unit in each picture, of those to choose on and of the others.
            truth: The number of the class of each picture, of either.
            asked: The numbers of the classes.
        """
        (first, other), (of_first, of_other) = (
            (each.double().numpy() for each in peaks),
            (each.numpy() for each in truth),
        )
        order = np.argsort(first, axis=0, kind="stable")
        ranked = np.take_along_axis(first, order, axis=0)
        found = [best_levels(ranked, (of_first == number)[order]) for number in asked]
        levels, chosen_by = (np.stack(each, axis=1) for each in zip(*found, strict=True))
        lit = other[:, :, None] > levels
        own = of_other[:, None] == np.array(list(asked))
        return cls(levels, chosen_by, (lit & own[:, None]).sum(axis=0), lit.sum(axis=0), own.sum(axis=0))

    def best(self, column: int) -> int:
        """The unit that tells one class best, as far as the first pictures say."""
        return int(self.chosen_by[:, column].argmax())

    def accuracy(self, unit: int, column: int, others: int) -> Interval[float]:
        """The balanced accuracy of a unit for one class on the other pictures, with its interval.

        Args:
            unit: The unit.
            column: The place of the class among those that were asked about.
            others: How many of the other pictures are of other classes.
        """
        hits, named = int(self.hits[unit, column]), int(self.named[unit, column])
        return balanced_interval(hits, named, int(self.pictures[column]), others)


def best_levels(
    ranked: Float[np.ndarray, "pictures units"], own: np.ndarray
) -> tuple[Float[np.ndarray, " units"], Float[np.ndarray, " units"]]:
    """For each unit the level with the greatest balanced accuracy, and that; the highest of several.

    Args:
        ranked: The peaks of each unit, rising.
        own: Whether each is of a picture of the class.
    """
    places = np.arange(ranked.shape[1])
    # Above the place i lie all that follow it; no level lies between equal peaks.
    hits, false = (side.sum(axis=0) - side.cumsum(axis=0) for side in (own, ~own))
    with np.errstate(invalid="ignore"):
        accuracy = (hits / own.sum(axis=0) + 1 - false / (~own).sum(axis=0)) / 2
    accuracy[:-1][ranked[1:] == ranked[:-1]] = -np.inf
    best = len(ranked) - 1 - np.nan_to_num(accuracy[::-1], nan=-np.inf).argmax(axis=0)
    above = np.minimum(best + 1, len(ranked) - 1)
    return (ranked[best, places] + ranked[above, places]) / 2, accuracy[best, places]


def peaks_of(output: Tensor) -> Float[Tensor, "images units"]:
    """The greatest activation of each unit, of maps, vectors or tokens."""
    return output.movedim(units_axis(output), 1).flatten(2).amax(dim=2) if output.ndim > 2 else output


@torch.no_grad()
def peaks_in(classifier: Classifier, part: str, images: Tensor) -> Float[Tensor, "images units"]:
    """The same of some images, on the CPU."""
    return peaks_of(classifier.stop(part, images).output).cpu().float()
