"""Parts of a class that units tell, and the units without which each is lost: what a question may be about next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dissect.questions.examination import Examination
from dissect.questions.runs import MOST_BYTES, bytes_of
from dissect.questions.subset import Lit
from dissect.roles.ablations import Ablations
from dissect.specialties.losses import grown, named_without
from dissect.specialties.responses import Prefix, find_responses
from dissect.specialties.subclasses import find_subclasses
from rewrite.storage.ledger import Ledger, Tensors

MOST = 6


@dataclass(frozen=True)
class Offer:
    """A part of a class that a unit tells from the rest of it.

    Attributes:
        condition: What holds of the unit there.
        pictures: How many of the class it holds of, among the pictures that answers are counted on.
        units: The units without which most of it is lost, and least beside it, on the pictures to choose on.
    """

    condition: Lit
    pictures: int
    units: tuple[int, ...]


def offers_for(
    examination: Examination, number: int, *, most: int = MOST, on_progress: Callable[[float], object] | None = None
) -> list[Offer]:
    """Find parts of a class as `rewrite specialise` does, on the pictures to choose on.

    Args:
        examination: What is known of the part and of pictures.
        number: The number of the class.
        most: How many are given.
        on_progress: Called again and again with the share that is done; may raise to end the work.

    Returns:
        Those that lose most by themselves first; none where no unit tells a part of the class.
    """
    training, ledger = examination.split.training, _Watched(on_progress or (lambda share: None))
    prefix = _Kept(examination.classifier, examination.part, examination.pictures, training)
    responses = find_responses(prefix, training, ledger)
    found = find_subclasses(responses, [number], most)
    offers: list[tuple[float, Offer]] = []
    steps = grown(prefix, responses, found, ledger) if found else []
    every = list(dict.fromkeys(units for sets in steps for units in sets))
    named = named_without(prefix, responses, every, ledger, "all sets") if found else None
    for subclass, sets in zip(found, steps, strict=True):
        assert named is not None
        gaps = {units: sum(named.gap(subclass, units)) for units in sets}
        best = max(sets, key=lambda units, of=gaps: of[units])
        condition = Lit(subclass.unit, float(f"{subclass.level:.9g}"))
        seen = examination.test
        inside = int(((seen.truth == number) & (seen.peaks[:, subclass.unit] > condition.level)).sum())
        if inside:
            offers.append((gaps[best], Offer(condition, inside, best)))
    return [offer for _, offer in sorted(offers, key=lambda each: -each[0])]


class _Kept(Prefix):
    """Pictures that have run up to a part, kept for the stages that follow as far as memory is allowed for them."""

    def __init__(self, *given: Any):
        super().__init__(*given)
        self._left, self._kept = MOST_BYTES, dict[tuple[int, ...], Ablations]()

    def started(self, numbers: Sequence[int]) -> Ablations:
        """As of any prefix."""
        key = tuple(numbers)
        found = self._kept.get(key) or super().started(numbers)
        if key not in self._kept and (size := bytes_of(found)) <= self._left:
            self._left -= size
            self._kept[key] = found
        return found


class _Watched(Ledger):
    """A ledger that is kept nowhere and says how far it is, as if each stage took as long as all before it."""

    def __init__(self, on_progress: Callable[[float], object]):
        super().__init__()
        self._on_progress, self._done = on_progress, 0.0

    def over(self, stage: str, numbers: Sequence[int], measure: Callable, **how: Any) -> Tensors:
        """As of any ledger."""
        first, seen = self._done, 0
        room = (1 - first) / 2

        def watched(part: tuple[int, ...]) -> Tensors:
            nonlocal seen
            found, seen = measure(part), seen + len(part)
            self._done = first + room * seen / len(numbers)
            self._on_progress(self._done)
            return found

        return super().over(stage, numbers, watched, **how)
