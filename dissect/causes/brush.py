"""A brush: the units that draw a concept, and the level that switches each of them on (GANPaint, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dissect.units.dissection import Dissection

# The strongest of GANPaint's three brushes, which is the one that it starts with.
UNITS = 15


@dataclass(frozen=True)
class Brush:
    """Units of one layer that are painted with together.

    Attributes:
        name: What they draw.
        layer: The layer.
        units: The units, those that agree best with the concept first.
        levels: The activation that switches each of them on: what its strongest pixels pass.
        iou: How well each agrees with the concept; none where units were named by hand.
    """

    name: str
    layer: str
    units: tuple[int, ...]
    levels: tuple[float, ...]
    iou: tuple[float, ...] = ()

    def __repr__(self) -> str:
        return f"<Brush {self.name!r} of {self.layer}: units={len(self.units)}>"

    @classmethod
    def of_concept(cls, dissection: Dissection, concept: str, count: int = UNITS) -> "Brush":
        """The units that agree best with a concept.

        Args:
            dissection: Of the layer.
            concept: What to paint.
            count: How many units.

        Raises:
            LookupError: The dissection does not know the concept.
            ValueError: The number of units is out of range.
        """
        units = best_units(dissection, concept, count)
        agreement = dissection.scores.iou[list(units), dissection.concepts.number(concept)]
        return cls(concept, dissection.view, units, _levels(dissection, units), tuple(agreement.tolist()))

    @classmethod
    def of_units(cls, dissection: Dissection, units: Sequence[int], name: str = "") -> "Brush":
        """Units that were chosen by number.

        Args:
            dissection: Of the layer.
            units: The units.
            name: What they are called.

        Raises:
            ValueError: There is no unit, or the layer has no such unit.
        """
        known = len(dissection.levels)
        wrong = [unit for unit in units if not 0 <= unit < known]
        if wrong or not units:
            found = f"got {wrong[0]}" if wrong else "got none"
            raise ValueError(f"units of {dissection.view} are numbers from 0 to {known - 1}, {found}")
        return cls(name or "units", dissection.view, tuple(units), _levels(dissection, units))


def best_units(dissection: Dissection, concept: str, count: int) -> tuple[int, ...]:
    """The units that agree best with a concept by IoU, the best first.

    Raises:
        LookupError: The dissection does not know the concept.
        ValueError: The number is out of range.
    """
    known = len(dissection.levels)
    if not 1 <= count <= known:
        raise ValueError(f"layer {dissection.view} has 1 to {known} units to choose from, got {count}")
    iou = dissection.scores.iou[:, dissection.concepts.number(concept)]
    return tuple(np.argsort(-iou, kind="stable")[:count].tolist())


def _levels(dissection: Dissection, units: Sequence[int]) -> tuple[float, ...]:
    return tuple(dissection.levels[list(units)].tolist())
