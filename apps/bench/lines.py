"""A line of the table: our work beside a reference in the same run, in paired rounds."""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from apps.bench.subject import Subject

SECONDS, BYTES = "s", "bytes"


class SkippedError(ValueError):
    """A line makes no sense for this generator, or on this machine; the message says why."""


class Pair(NamedTuple):
    """One round.

    Attributes:
        ours: What our work took.
        reference: What the reference took, right before or after.
        figures: What else was seen, such as how good the answers are.
    """

    ours: float
    reference: float
    figures: Mapping[str, float] = {}


@dataclass(frozen=True)
class Line:
    """What is measured against what.

    Attributes:
        name: What it is called by.
        ours: Our work.
        reference: What it is held against.
        pairs: The rounds for a generator, one after another and without an end; what is not to be timed comes before
            the first. It raises `SkippedError` where the line makes no sense.
        rounds: How many are taken, and how many of a quick run.
        unit: What is counted.
        notes: What a reader has to know.
        of_peer: Whether the reference is released code.
    """

    name: str
    ours: str
    reference: str
    pairs: Callable[["Subject"], Iterator[Pair]]
    rounds: tuple[int, int] = (5, 2)
    unit: str = SECONDS
    notes: str = ""
    of_peer: bool = False


@dataclass(frozen=True)
class Row:
    """What was measured of a line.

    Attributes:
        line: The line.
        pairs: Its rounds; none if it was skipped.
        skipped: Why there is none.
    """

    line: Line
    pairs: Sequence[Pair] = ()
    skipped: str = ""
    ratios: Sequence[float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", [ratio(pair) for pair in self.pairs])

    def document(self) -> dict[str, Any]:
        """As JSON: the median of the rounds' ratios and their range, medians of either side, means of the figures."""
        about = {"name": self.line.name, "ours": self.line.ours, "reference": self.line.reference}
        if self.skipped:
            return {**about, "skipped": self.skipped}
        names = dict.fromkeys(name for pair in self.pairs for name in pair.figures)
        return {
            **about,
            "ratio": statistics.median(self.ratios),
            "least": min(self.ratios),
            "most": max(self.ratios),
            "rounds": len(self.pairs),
            "unit": self.line.unit,
            "our_median": statistics.median(pair.ours for pair in self.pairs),
            "reference_median": statistics.median(pair.reference for pair in self.pairs),
            "figures": {name: _mean(name, self.pairs) for name in names},
            "notes": self.line.notes,
        }


def ratio(pair: Pair) -> float:
    """What ours took, over what the reference took.

    Raises:
        ValueError: The reference took nothing that the clock sees, or a number is none.
    """
    if not (pair.reference > 0 and math.isfinite(pair.ours) and math.isfinite(pair.reference)):
        raise ValueError(f"a ratio is to a reference that takes more than nothing, got {pair.ours} to {pair.reference}")
    return pair.ours / pair.reference


def _mean(name: str, pairs: Sequence[Pair]) -> float:
    return statistics.mean(pair.figures[name] for pair in pairs if name in pair.figures)
