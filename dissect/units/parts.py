"""A dissection counted in several parts, by several processes or machines, and put together exactly.

All parts share the levels, which are chosen once and kept in the file of the whole. Each part has a file of its own
beside it and goes on from there when it was ended. Counts are whole numbers, so the whole does not tell how it was cut.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dissect.units.counting import begin, count, ledger_of, start
from dissect.units.dissection import UNITS, Dissection, dissections_of, load_dissections, save_dissections
from dissect.units.probe import Probe
from rewrite.storage.ledger import Ledger, shards
from rewrite.storage.quoting import quoted


class Part(NamedTuple):
    """One of several parts; the first has the number 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """A part as people write it: 2/4.

        Raises:
            ValueError: It is none.
        """
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise ValueError(f"a part is written 2/4, the second of four, got {quoted(text)}")
        return cls(int(number), int(of))

    def path(self, state: Path) -> Path:
        """The file of this part, beside that of the whole."""
        return state.with_name(f"{state.stem}-{self.number}-of-{self.of}{state.suffix}")

    def numbers(self, rest: Sequence[int]) -> tuple[int, ...]:
        """The numbers of the images that are this part's, from those that the whole still lacks.

        Images whose labels are exchanged for the null stay together.
        """
        groups = list(shards(rest))
        chosen = groups[len(groups) * (self.number - 1) // self.of : len(groups) * self.number // self.of]
        return tuple(number for group in chosen for number in group)


def dissect_part(
    probe: Probe, samples: int, part: Part, *, state: Path, progress: bool = False, **levels
) -> dict[str, Dissection]:
    """Count one part.

    Args:
        probe: What to look at.
        samples: How many images all parts count together.
        part: Which part.
        state: The file of the whole; where it is missing, the levels are chosen and kept there.
        progress: Show a progress bar.
        levels: How levels are chosen, as for `dissect`.

    Raises:
        ValueError: As `dissect`.
    """
    whole, numbers = begin(probe, samples, state=state, progress=progress, **levels)
    mine = ledger_of(probe, part.path(state), whole.identity, progress)
    if UNITS not in mine.stages:
        known = dissections_of(whole.stages[UNITS], whole.about)
        start(mine, {view: one.emptied() for view, one in known.items()})
    return count(mine, probe, part.numbers(whole.left(UNITS, numbers)))


def uncounted_parts(probe: Probe, whole: Ledger, numbers: Sequence[int], parts: int, state: Path) -> list[Part]:
    """The parts that are not counted to their end.

    Args:
        probe: What is looked at.
        whole: What `begin` gives of the file of the whole.
        numbers: And the images that are to be counted.
        parts: How many parts there are.
        state: The file of the whole.

    Raises:
        ValueError: The file of a part is of another run, or holds other images.
    """
    rest = whole.left(UNITS, numbers)

    def counted(part: Part) -> bool:
        mine = ledger_of(probe, part.path(state), whole.identity, progress=False)
        return UNITS in mine.stages and not mine.left(UNITS, part.numbers(rest))

    return [part for part in (Part(number + 1, parts) for number in range(parts)) if not counted(part)]


def join_parts(state: Path, parts: int) -> dict[str, Dissection]:
    """Put all parts together in the file of the whole, and delete theirs.

    Raises:
        FileNotFoundError: A part is missing.
        ValueError: A part is of another dissection, or was counted at other levels.
    """
    whole: Mapping[str, Dissection] = load_dissections(state)
    paths = [Part(number + 1, parts).path(state) for number in range(parts)]
    for path in paths:
        part = load_dissections(path)
        if part.keys() != whole.keys():
            raise ValueError(f"{path} is a part of another dissection than {state}")
        whole = {view: one + part[view] for view, one in whole.items()}
    save_dissections(state, whole)
    for path in paths:
        path.unlink()
    return dict(whole)
