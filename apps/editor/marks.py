"""Marks: the brushed regions, read from the untrusted document that the page sends."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.editor.given import SEEDS, number_of
from rewrite import Latent, Mask, Region, Rule

ROLES = ("copy", "paste", "context", "protect")
MOST_MARKS = 400
MOST_RUNS = 40_000
LARGEST_SEED = SEEDS - 1
LARGEST_MASK = 256


@dataclass(frozen=True)
class Mark:
    """One region in one role.

    Attributes:
        role: One of `ROLES`.
        region: The brushed pixels of one image.
    """

    role: str
    region: Region

    @property
    def seed(self) -> int:
        """The seed of the image, or the number of its latent."""
        return number_of(self.region.latent)


def mask_side(size: tuple[int, int]) -> int:
    """The side of the masks for images of a size: the largest divisor of it that is at most 256."""
    side = max(size)
    parts = (part for part in range(1, side + 1) if side % part == 0 and side // part <= LARGEST_MASK)
    return side // next(parts)


def read_marks(document: Any, side: int, given: Iterable[Latent] = ()) -> tuple[Mark, ...]:
    """Read the marks from a wall's value.

    Args:
        document: The value that the page sent.
        side: Height and width of every mask.
        given: The latents by value that may be marked, beside all seeds.

    Raises:
        ValueError: The document is invalid; the message says why.
    """
    entries = document.get("marks") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the page must send its marks as a list")
    if len(entries) > MOST_MARKS:
        raise ValueError(f"a page sends at most {MOST_MARKS} marks, got {len(entries)}")
    left, known = MOST_RUNS, {number_of(latent): latent for latent in given}
    marks: dict[tuple[int, str], Mark] = {}
    for entry in entries:
        mark = _mark(entry, side, known)
        left -= len(mark.region.mask.runs)
        if left < 0:
            raise ValueError(f"the marks of a page have at most {MOST_RUNS} runs")
        if (mark.seed, mark.role) in marks:
            raise ValueError(f"the page sent {mark.role} of seed {mark.seed} twice")
        marks[mark.seed, mark.role] = mark
    return tuple(marks.values())


def _mark(entry: Any, side: int, given: Mapping[int, Latent]) -> Mark:
    if not isinstance(entry, dict):
        raise ValueError("a mark must be an object")
    seed, role, runs = entry.get("seed"), entry.get("role"), entry.get("runs")
    if not isinstance(role, str) or role not in ROLES:
        raise ValueError(f"a mark's role is one of {', '.join(ROLES)}")
    if not whole(seed) or not (0 <= seed <= LARGEST_SEED or seed in given):
        raise ValueError(f"a mark's seed is a whole number from 0 to {LARGEST_SEED}")
    if not isinstance(runs, list) or len(runs) > side * side:
        raise ValueError("a mark's runs must be a list, no longer than the mask has pixels")
    pairs = tuple(_pair(run) for run in runs)
    return Mark(role, Region(given[seed] if seed in given else Latent(seed), Mask((side, side), pairs)))


def _pair(run: Any) -> tuple[int, int]:
    if not (isinstance(run, list) and len(run) == 2 and all(whole(each) for each in run)):
        raise ValueError("a run must be two whole numbers")
    return run[0], run[1]


def whole(value: Any) -> bool:
    """Whether a value of a document is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def documents(marks: Iterable[Mark]) -> list[dict[str, Any]]:
    """Marks as documents for the page."""
    return [
        {"seed": mark.seed, "role": mark.role, "runs": [list(run) for run in mark.region.mask.runs]} for mark in marks
    ]


def marks_of(rule: Rule, side: int) -> tuple[Mark, ...] | None:
    """The marks of a rule; None where the wall cannot show them, as their masks are of other sizes."""
    regions = [("copy", region) for region in rule.copy] + [("context", region) for region in rule.context]
    regions += [("protect", region) for region in rule.protect]
    regions += [] if rule.paste is None else [("paste", rule.paste)]
    if any(region.mask.size != (side, side) for _, region in regions):
        return None
    return merged(Mark(role, region) for role, region in regions)


def merged(marks: Iterable[Mark]) -> tuple[Mark, ...]:
    """The union of the marks of each image and role."""
    found: dict[tuple[int, str], Mark] = {}
    for mark in marks:
        key, mask = (mark.seed, mark.role), mark.region.mask
        if key in found:
            mask = Mask.from_array(found[key].region.mask.array() | mask.array())
        found[key] = Mark(mark.role, Region(mark.region.latent, mask))
    return tuple(found.values())
