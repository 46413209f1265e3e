"""Whether the units that matter for classes are those that agree with concepts (Bau et al., PNAS 2020, fig. 3d)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from dissect.roles.accuracy import rank_correlation
from dissect.roles.roles import Roles
from dissect.units.dissection import Dissection
from rewrite.reports.interval import Interval, mean_of

# Units that are among the best of so many classes or more stand together.
MOST_CLASSES = 4


@dataclass(frozen=True)
class Interpretability:
    """How well units agree with concepts, beside how many classes need them.

    Attributes:
        iou: The best IoU of each unit with any concept.
        concepts: That concept.
        classes: Of how many classes each unit is among the few best.
        correlation: The rank correlation of IoU and importance, the mean over classes.
    """

    iou: Float[np.ndarray, " units"]
    concepts: Sequence[str]
    classes: Int64[np.ndarray, " units"]
    correlation: Interval[float]

    @classmethod
    def of(cls, roles: Roles, dissection: Dissection, few: int) -> "Interpretability":
        """Join what units do with what they agree with.

        Args:
            roles: What they do.
            dissection: Of the same part of the same classifier.
            few: How many units of each class are its best.
        """
        scores = dissection.scores
        best = scores.best
        iou = scores.iou[np.arange(len(best)), best]
        classes = np.bincount(
            [unit for number in roles.classes for unit in roles.best(number, few)], minlength=len(iou)
        )
        importance = np.nan_to_num(roles.soft_importance[:, list(roles.classes)]).mean(axis=1)
        return cls(iou, [scores.concepts.names[number] for number in best], classes, rank_correlation(iou, importance))

    @property
    def by_classes(self) -> dict[int, Interval[float]]:
        """The mean of the best IoU of units, by how many classes need them; the last stands for so many or more."""
        held = self.classes.clip(max=MOST_CLASSES)
        return {int(number): mean_of(self.iou[held == number]) for number in np.unique(held)}
