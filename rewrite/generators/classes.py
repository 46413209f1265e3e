"""Which class each seed draws, of a generator of several.

A label is a number; None for all classes in turn, by the seeds; or a text of parts between commas: `3,5` for these in
turn, `mixed` for all, and `7:2` or `0-4:2` for what these seeds draw whatever the turn.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

Label = int | str | None

MIXED = "mixed"
PART = re.compile(r"(?:(\d{1,10})(?:-(\d{1,10}))?:)?(\d{1,9}|mixed)")
FORM = "a class is a number, mixed, several such as 3,5 (in turn, by the seeds), or 7:2 and 0-4:2 (of these seeds)"


def label_of(given: Label | Mapping[int, int], count: int) -> Label:
    """A label in its one way of writing.

    Args:
        given: A label, or classes by seeds.
        count: How many classes there are.

    Raises:
        ValueError: It is none, or names a class that is not there.
    """
    if given is None or given == MIXED:
        return None
    if isinstance(given, Mapping):
        given = ",".join(f"{seed}:{number}" for seed, number in given.items())
    text = "".join(str(given).split())
    _parsed(text, count)
    return int(text) if text.isdecimal() else text


def said(label: Label) -> str:
    """A label as people write it."""
    return MIXED if label is None else str(label)


def marked(label: Label) -> dict[str, str]:
    """What provenance says of a class; nothing of the first, which it has always been silent about."""
    return {} if label == 0 else {"class": said(label)}


def classes_of(label: Label, seeds: Sequence[int], count: int) -> list[int]:
    """The class of each seed.

    Args:
        label: The label.
        seeds: The seeds.
        count: How many classes there are.

    Raises:
        ValueError: There is no such class, or a seed has none.
    """
    turn, alone = _parsed(said(label), count)
    return [_class_of(seed, turn, alone, said(label)) for seed in seeds]


def _class_of(seed: int, turn: Sequence[int], alone: Sequence[tuple[int, int, int]], text: str) -> int:
    for first, last, number in alone:
        if first <= seed <= last:
            return number
    if not turn:
        raise ValueError(
            f"seed {seed} has no class in {text[:40]}: say what other seeds draw, such as mixed,{text[:40]}"
        )
    return turn[seed % len(turn)]


@lru_cache
def _parsed(text: str, count: int) -> tuple[tuple[int, ...], tuple[tuple[int, int, int], ...]]:
    """The classes that seeds draw in turn, and those of some seeds: first, last, class."""
    turn, alone = [], []
    for part in text.split(","):
        found = PART.fullmatch(part)
        if found is None or (found[1] and found[3] == MIXED):
            raise ValueError(f"{FORM}, got {text[:40]!r}")
        numbers = range(count) if found[3] == MIXED else [int(found[3])]
        if numbers[-1] >= count:
            raise ValueError(f"this generator draws classes 0 to {count - 1}, got {numbers[-1]}")
        if found[1]:
            alone.append((int(found[1]), int(found[2] or found[1]), numbers[0]))
        else:
            turn += numbers
    return tuple(turn), tuple(alone)
