"""Parts of a dissection in files of their own, as earlier versions counted them side by side: finished and joined.

All parts share the levels, which are kept in the file of the whole. Counts are whole numbers, so the whole does not
tell how it was cut. Workers of today share the shards of one file (`rewrite.shards`).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dissect.units.counting import begin, count, ledger_of, start
from dissect.units.dissection import UNITS, Dissection, dissections_of, load_dissections, save_dissections
from dissect.units.probe import Probe
from rewrite.storage.ledger import shards


class Part(NamedTuple):
    """One of several parts; the first has the number 1."""

    number: int
    of: int

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


def parts_beside(state: Path) -> list[Part]:
    """All parts of a dissection of which at least one has a file; none where it was counted as a whole."""
    name = re.compile(rf"{re.escape(state.stem)}-(\d+)-of-(\d+){re.escape(state.suffix)}")
    found = [name.fullmatch(path.name) for path in (state.parent.iterdir() if state.parent.is_dir() else ())]
    of = min((int(match[2]) for match in found if match), default=0)
    return [Part(number + 1, of) for number in range(of)]


def finish_parts(probe: Probe, samples: int, *, state: Path, progress: bool = False, **levels) -> None:
    """Count what parts lack that lie beside the file of the whole, put them together in it, and delete theirs.

    Args:
        probe: What to look at.
        samples: How many images all parts count together.
        state: The file of the whole.
        progress: Show a progress bar.
        levels: How levels are chosen, as for `dissect`.

    Raises:
        ValueError: As `dissect`; or a part is of another dissection, or was counted at other levels.
    """
    parts = parts_beside(state)
    if not parts:
        return
    whole, numbers = begin(probe, samples, state=state, progress=progress, **levels)
    known, rest = dissections_of(whole.stages[UNITS], whole.about), whole.left(UNITS, numbers)
    for part in parts:
        mine = ledger_of(probe, part.path(state), whole.identity, progress)
        if UNITS not in mine.stages:
            start(mine, {view: one.emptied() for view, one in known.items()})
        count(mine, probe, part.numbers(rest))
    _join(state, parts)


def _join(state: Path, parts: Sequence[Part]) -> None:
    whole: Mapping[str, Dissection] = load_dissections(state)
    for part in parts:
        found = load_dissections(part.path(state))
        if found.keys() != whole.keys():
            raise ValueError(f"{part.path(state)} is a part of another dissection than {state}")
        whole = {view: one + found[view] for view, one in whole.items()}
    save_dissections(state, whole)
    for part in parts:
        part.path(state).unlink()
