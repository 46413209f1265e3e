"""Parts of a class that one unit tells from the rest of it, chosen by what the network loses without the unit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dissect.specialties.responses import Responses

# A subclass is at least so many pictures, and this share of its class, and at most half of it.
LEAST, LEAST_SHARE, MOST_SHARE = 5, 0.1, 0.5
# Subclasses of one class that have more than this in common (IoU) are one.
SAME = 0.5


@dataclass(frozen=True)
class Subclass:
    """The pictures of a class in which a unit is above a level.

    Attributes:
        number: The number of the class.
        unit: The unit.
        level: Between the pictures that light it and the others.
        separation: The share of the variance of its peaks in the class that the level explains: .64 for a normal
            distribution, 1 for two points.
        gap: How much more the pictures above the level lose without the unit (in the softmax of their class) than
            those below it, and than all other classes, whichever loses more.
        others: All other units, those first without which the subclass loses most by itself.
    """

    number: int
    unit: int
    level: float
    separation: float
    gap: float
    others: Sequence[int]

    def holds(self, responses: Responses) -> Bool[Tensor, " pictures"]:
        """Which pictures are of it."""
        return (responses.truth == self.number) & (responses.peaks[:, self.unit] > self.level)


def find_subclasses(
    training: Responses, classes: Sequence[int], most: int, units: Sequence[int] | None = None
) -> list[Subclass]:
    """The subclasses that lose most by themselves, the clearest first; those that are alike are found once.

    Args:
        training: What units do on the pictures that may be chosen on.
        classes: The numbers of the classes that are looked into.
        most: How many are given.
        units: The units that may tell a subclass; all if left out.
    """
    found = [
        subclass
        for number in classes
        for unit in (range(training.units) if units is None else units)
        if (subclass := _subclass(training, number, unit)) is not None
    ]
    chosen: list[Subclass] = []
    for subclass in sorted(found, key=lambda each: -each.gap):
        if len(chosen) == most:
            break
        if not any(_alike(training, subclass, other) for other in chosen):
            chosen.append(subclass)
    return chosen


def otsu(values: Float[np.ndarray, " values"]) -> tuple[float, float]:
    """The level that splits values best into two groups, and the share of their variance that it explains.

    The method of Otsu (1979), over the values themselves instead of a histogram. Of equal values, it explains none.
    """
    ordered = np.sort(values.astype(np.float64))
    count, sums = np.arange(1, len(ordered)), np.cumsum(ordered)
    total = np.square(ordered - ordered.mean()).sum()
    if total <= 0:
        return float(ordered[0]), 0.0
    below, above = sums[:-1] / count, (sums[-1] - sums[:-1]) / (len(ordered) - count)
    between = count * (len(ordered) - count) / len(ordered) * np.square(above - below)
    best = int(between.argmax())
    return float((ordered[best] + ordered[best + 1]) / 2), float(between[best] / total)


def _subclass(training: Responses, number: int, unit: int) -> Subclass | None:
    mine = training.truth == number
    level, separation = otsu(training.peaks[mine, unit].numpy())
    inside = mine & (training.peaks[:, unit] > level)
    count, whole = int(inside.sum()), int(mine.sum())
    if not max(LEAST, LEAST_SHARE * whole) <= count <= MOST_SHARE * whole:
        return None
    lost = training.lost
    parts = [lost[which].mean(dim=0) for which in (mine & ~inside, ~mine) if which.any()]
    gaps = lost[inside].mean(dim=0) - torch.stack(parts).amax(dim=0)
    others = [other for other in gaps.argsort(descending=True, stable=True).tolist() if other != unit]
    return Subclass(number, unit, level, separation, float(gaps[unit]), others)


def _alike(training: Responses, one: Subclass, other: Subclass) -> bool:
    if one.number != other.number:
        return False
    first, second = one.holds(training), other.holds(training)
    return bool((first & second).sum() > SAME * (first | second).sum())
