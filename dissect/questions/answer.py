"""The answer to a question: what each picture is named with all units and without some, and what classes lose."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from dissect.questions.question import Question
from dissect.questions.seen import Seen
from dissect.roles.accuracy import balanced_interval
from rewrite.reports.interval import Interval, counted

PARTS = ("subset", "rest", "elsewhere")


class Renamed(NamedTuple):
    """A picture that is named otherwise without the units.

    Attributes:
        number: The picture.
        truth: The number of its class.
        before: The number of the class that it is named with all units on.
        after: The same without the units.
    """

    number: int
    truth: int
    before: int
    after: int


class Right(NamedTuple):
    """How many pictures are named right.

    Attributes:
        pictures: How many there are.
        before: How many of them are named right with all units on.
        after: How many without the units.
    """

    pictures: int
    before: int
    after: int

    @property
    def shares(self) -> tuple[Interval[float], Interval[float]] | None:
        """Both as shares with Wilson's intervals; None without pictures."""
        if not self.pictures:
            return None
        return counted(self.before, self.pictures), counted(self.after, self.pictures)


@dataclass(frozen=True, eq=False)
class Answer:
    """What happens with the units of a question off.

    Attributes:
        question: The question.
        classes: The name of each class.
        seen: What is known of all pictures with all units on.
        after: The number of the class that each is named without the units.
        chosen: Which of the pictures the question is about.
    """

    question: Question
    classes: tuple[str, ...]
    seen: Seen = field(repr=False)
    after: Int64[Tensor, " pictures"] = field(repr=False)
    chosen: Bool[Tensor, " pictures"] = field(repr=False)

    def __repr__(self) -> str:
        right = self.right["subset"]
        counts = f"right={right.before} to {right.after} of {right.pictures}"
        return f"<Answer on {self.question.part} without {len(self.question.off)} units: {counts}>"

    @property
    def right(self) -> dict[str, Right]:
        """What is named right of the pictures that are asked about, of the rest of the class, and of all others."""
        mine = self.seen.truth == self.question.number
        parts = self.chosen, mine & ~self.chosen, ~mine & ~self.chosen
        return {name: self._right(part) for name, part in zip(PARTS, parts, strict=True)}

    @property
    def overall(self) -> Right:
        """What is named right of all pictures."""
        return self._right(torch.ones_like(self.chosen))

    def balanced(self, number: int) -> tuple[Interval[float], Interval[float]] | None:
        """How well a class is told from all others, with all units on and without some, over all pictures.

        Args:
            number: The number of the class.

        Returns:
            Its balanced accuracy before and after, each with its 95 % interval over pictures; None where there are no
            pictures of the class, or none of others.
        """
        mine = self.seen.truth == number
        pictures, others = int(mine.sum()), int((~mine).sum())
        if not (pictures and others):
            return None
        before, after = (
            balanced_interval(int((mine & (named == number)).sum()), int((named == number).sum()), pictures, others)
            for named in (self.seen.named, self.after)
        )
        return before, after

    @property
    def lost(self) -> list[Renamed]:
        """Of the pictures that are asked about, those that were right and are wrong without the units."""
        return self._renamed(self.chosen & (self.seen.named == self.seen.truth))

    @property
    def gained(self) -> list[Renamed]:
        """Those that were wrong and are right without the units."""
        return self._renamed(self.chosen & (self.after == self.seen.truth))

    @property
    def otherwise(self) -> list[Renamed]:
        """Those that were wrong, and are wrong in another way without the units."""
        wrong = (self.seen.named != self.seen.truth) & (self.after != self.seen.truth)
        return self._renamed(self.chosen & wrong)

    @property
    def moves(self) -> list[tuple[int, int, int]]:
        """What the lost pictures were named and are named, with how many of each, the most first."""
        pairs = [(each.before, each.after) for each in self.lost]
        found = {pair: pairs.count(pair) for pair in dict.fromkeys(pairs)}
        return sorted(((*pair, count) for pair, count in found.items()), key=lambda each: -each[2])

    @property
    def sentence(self) -> str:
        """The answer in a sentence or two."""
        right, off = self.right["subset"], self.question.off
        units = "" if not off else f"unit {off[0]}" if len(off) == 1 else f"these {len(off)} units"
        if right.pictures == 1:
            whole = f"With all units on, the picture is named {self._names(self.seen.named)}"
            return f"{whole}; without {units}, {self._names(self.after)}." if off else f"{whole}."
        if not off:
            return (
                f"With all units on, {right.before} of the {right.pictures} pictures {_are(right.before)} named right."
            )
        text = (
            f"Without {units}, {right.after} of the {right.pictures} pictures {_are(right.after)} named right; "
            f"with all units, {right.before}."
        )
        if self.moves:
            _, after, count = max(self.moves, key=lambda each: each[2])
            which = "" if len(self.lost) == count == 1 else "all " if count == len(self.lost) else f"{count} of them "
            lost = "1 is lost" if len(self.lost) == 1 else f"{len(self.lost)} are lost"
            text += f" {lost}, {which}now named {self.classes[after]}."
        return text

    def document(self) -> dict[str, Any]:
        """All of it for programs, as JSON knows it."""
        question = self.question
        return {
            "part": question.part,
            "class": self.classes[question.number],
            "off": list(question.off),
            "subset": question.subset.document(self.classes),
            "right": {name: _right_document(each) for name, each in self.right.items()},
            "overall": _right_document(self.overall),
            "balanced": {
                name: _pair(found) for number, name in enumerate(self.classes) if (found := self.balanced(number))
            },
            "lost": self._told(self.lost),
            "gained": self._told(self.gained),
            "otherwise": self._told(self.otherwise),
        }

    def _names(self, named: Tensor) -> str:
        """What the only picture is named."""
        return self.classes[int(named[self.chosen][0])]

    def _right(self, part: Bool[Tensor, " pictures"]) -> Right:
        truth = self.seen.truth
        before, after = ((part & (named == truth)).sum() for named in (self.seen.named, self.after))
        return Right(int(part.sum()), int(before), int(after))

    def _renamed(self, part: Bool[Tensor, " pictures"]) -> list[Renamed]:
        places = (part & (self.seen.named != self.after)).nonzero()[:, 0].tolist()
        rows = np.stack([self.seen.truth, self.seen.named, self.after], axis=1)[places].tolist()
        return [Renamed(self.seen.numbers[place], *row) for place, row in zip(places, rows, strict=True)]

    def _told(self, renamed: Sequence[Renamed]) -> list[dict[str, Any]]:
        return [
            {
                "picture": each.number,
                "class": self.classes[each.truth],
                "before": self.classes[each.before],
                "after": self.classes[each.after],
            }
            for each in renamed
        ]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _pair(found: tuple[Interval[float], Interval[float]]) -> dict[str, Any]:
    return {"before": found[0].document(), "after": found[1].document()}


def _right_document(right: Right) -> dict[str, Any]:
    shares = right.shares
    return {**right._asdict(), **({} if shares is None else {"shares": _pair(shares)})}
