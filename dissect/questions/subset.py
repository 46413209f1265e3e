"""The pictures that a question is about: all for which several conditions hold together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool

from dissect.questions.seen import Seen

ABOVE, BELOW = ">", "<"


@dataclass(frozen=True)
class Lit:
    """A condition on one unit: its peak in a picture lies above a level, or not above it.

    Attributes:
        unit: The unit.
        level: The level, in the numbers that the part gives.
        above: Whether the peak is to lie above it.
    """

    unit: int
    level: float
    above: bool = True

    def __str__(self) -> str:
        return f"{self.unit}{ABOVE if self.above else BELOW}{self.level:.9g}"


@dataclass(frozen=True)
class Subset:
    """Some of the pictures: those for which all holds that is given. With nothing given, all of them.

    Attributes:
        of: The number of the class that they are of.
        named: The number of the class that they are named with all units on.
        lit: What holds of units in them.
        only: Their numbers, picked by hand.
    """

    of: int | None = None
    named: int | None = None
    lit: tuple[Lit, ...] = ()
    only: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return f"<Subset: {self.told(())}>"

    def holds(self, seen: Seen) -> Bool[torch.Tensor, " pictures"]:
        """Which of some pictures are in it, as truth values of shape (pictures,).

        Args:
            seen: What is known of the pictures.
        """
        inside = torch.ones(len(seen.numbers), dtype=torch.bool)
        if self.of is not None:
            inside &= seen.truth == self.of
        if self.named is not None:
            inside &= seen.named == self.named
        for each in self.lit:
            inside &= (seen.peaks[:, each.unit] > each.level) == each.above
        if self.only is not None:
            inside &= torch.isin(torch.tensor(seen.numbers), torch.tensor(self.only, dtype=torch.int64))
        return inside

    def told(self, classes: Sequence[str]) -> str:
        """What holds of the pictures, as people say it.

        Args:
            classes: The names of the classes; their numbers are told where it is empty.
        """
        names: Mapping[int, str] = dict(enumerate(classes))
        parts = ["all pictures" if self.of is None else f"pictures of {names.get(self.of, self.of)}"]
        parts += [] if self.named is None else [f"named {names.get(self.named, self.named)}"]
        parts += [
            f"unit {each.unit} {'above' if each.above else 'at most at'} {each.level:.3g}" for each in self.lit[:4]
        ]
        parts += ["…"] if len(self.lit) > 4 else []
        parts += [] if self.only is None else [f"{len(self.only)} picked by hand"]
        return ", ".join(parts)

    def document(self, classes: Sequence[str]) -> dict[str, Any]:
        """The conditions, for programs; classes by name."""
        return {
            "of": None if self.of is None else classes[self.of],
            "named": None if self.named is None else classes[self.named],
            "lit": [{"unit": each.unit, "level": each.level, "above": each.above} for each in self.lit],
            "only": None if self.only is None else list(self.only),
        }
