"""Sets of units without which a network loses a subclass, and as little as may be beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int16
from torch import Tensor

from dissect.specialties.responses import Prefix, Responses, joined, named_and_sure
from dissect.specialties.subclasses import Subclass
from rewrite.storage.ledger import Ledger, Tensors

MOST_UNITS, TRIED = 4, 8
PARTS = ("subclass", "rest", "elsewhere")
Sets = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class Named:
    """What pictures are named with sets of units off.

    Attributes:
        responses: What is known of the pictures with all units on.
        sets: The sets.
        named: What each picture is named without each of them.
        sure: The softmax of its own class.
    """

    responses: Responses
    sets: Sets
    named: Int16[Tensor, "pictures sets"]
    sure: Float[Tensor, "pictures sets"]

    def part(self, chosen: slice) -> "Named":
        """Those of some of the pictures."""
        return Named(self.responses.part(chosen), self.sets, self.named[chosen], self.sure[chosen])

    def counts(self, subclass: Subclass, units: tuple[int, ...]) -> dict[str, tuple[int, int, int]]:
        """For each of `PARTS`: how many pictures there are, are named right with all units, and without some."""
        truth = self.responses.truth
        before, after = self.responses.named == truth, self.named[:, self.sets.index(units)] == truth
        return {
            name: (int(part.sum()), int((before & part).sum()), int((after & part).sum()))
            for name, part in parts_of(subclass, self.responses).items()
        }

    def gap(self, subclass: Subclass, units: tuple[int, ...]) -> tuple[float, float]:
        """How much more the subclass loses than the rest of its class or all others do: names, and the softmax."""
        place, truth = self.sets.index(units), self.responses.truth
        right = (self.responses.named == truth).double() - (self.named[:, place] == truth).double()
        sure = (self.responses.sure - self.sure[:, place]).double()
        parts = parts_of(subclass, self.responses)
        return _gap(right, parts), _gap(sure, parts)


def parts_of(subclass: Subclass, responses: Responses) -> dict[str, Bool[Tensor, " pictures"]]:
    """Which pictures are of a subclass, of the rest of its class, and of other classes."""
    inside, mine = subclass.holds(responses), responses.truth == subclass.number
    return dict(zip(PARTS, (inside, mine & ~inside, ~mine), strict=True))


@torch.no_grad()
def named_without(prefix: Prefix, responses: Responses, sets: Sets, ledger: Ledger, stage: str) -> Named:
    """Name pictures with each of some sets of units off."""
    numbers = responses.numbers

    def measure(places: Sequence[int]) -> Tensors:
        chosen = [numbers[place] for place in places]
        truth, started = prefix.pictures.classes(chosen), prefix.started(chosen)
        found = [named_and_sure(started.without(units), truth) for units in sets]
        named, sure = (torch.stack(each, dim=1) for each in zip(*found, strict=True))
        return {"named": named, "sure": sure}

    found: Mapping[str, Tensor] = ledger.over(stage, range(len(numbers)), measure, join=joined)
    return Named(responses, sets, found["named"], found["sure"])


def grown(
    prefix: Prefix, training: Responses, subclasses: Sequence[Subclass], ledger: Ledger
) -> list[list[tuple[int, ...]]]:
    """For each subclass, sets of its unit alone and of more: each adds the unit that loses most of the subclass alone.

    Of all other units, those are tried that do so best by themselves.
    """
    steps: list[list[tuple[int, ...]]] = [[(each.unit,)] for each in subclasses]
    for size in range(2, min(MOST_UNITS, training.units - 1) + 1):
        tried = [
            [(*sets[-1], unit) for unit in each.others[: TRIED + size - 2] if unit not in sets[-1]]
            for each, sets in zip(subclasses, steps, strict=True)
        ]
        every = list(dict.fromkeys(units for each in tried for units in each))
        found = named_without(prefix, training, every, ledger, f"sets of {size}")
        for subclass, sets, candidates in zip(subclasses, steps, tried, strict=True):
            sets.append(max(candidates, key=lambda units, of=subclass: sum(found.gap(of, units))))
    return steps


def _gap(lost: Float[Tensor, " pictures"], parts: Mapping[str, Bool[Tensor, " pictures"]]) -> float:
    share = {name: float(lost[part].mean()) if part.any() else 0.0 for name, part in parts.items()}
    return share["subclass"] - max(share["rest"], share["elsewhere"])
