"""How a rule is solved: weights, limits and steps."""

import math
from dataclasses import dataclass, fields
from typing import Any

from rewrite.rules.entries import number, only, require, typed

KEY_SPACES = ("patch", "channel")
CONSTRAINTS = ("written", "fires")
WEIGHTS = ("given", "marks")
CHOSEN = ("damage", "drift", "others", "quiet", "still")
EXACT = "exact"
MOST_REACH = 10


@dataclass(frozen=True, repr=False)
class Settings:
    """How the rule is solved.

    Attributes:
        damage: Weight λ of the change at ordinary keys, beside a weight of 1 for the goal (all its keys together).
        drift: Weight μ of the term that keeps a modulated layer's demodulation where it is.
        others: Weight of all the places in the context images that are not context (hard negatives), together.
        protect: Weight of all protected places, together; infinity (`"exact"` in a file) keeps them exactly. A rank
            with the constraint `written` can undo that on a modulated layer; the forecast says by how much.
        margin: Places nearer than this to the context or the paste, in cells, are not hard negatives.
        rank: Number of directions of the patch (in each group of a grouped layer), or None for as many as the goal
            asks for.
        constraint: `written` keeps the best rank-r patch; `fires` confines the patch to r directions of the context.
        steps: Most closed-form solves while the demodulation is followed.
        refine: Number of steps by which pasted values are adjusted until the image itself shows the copy; 0 pastes the
            copied values as they are (the 2020 paper).
        key_space: Over which keys the memory is taken: `patch` for whole receptive fields, `channel` for single
            positions, as in the 2020 paper.
        quiet: Weight of quiet places of ordinary images (unmarked hard negatives), together.
        weights: `given`, or `marks`: damage, drift, others, quiet and still are chosen by what would arrive in marked
            images that had not been marked.
        finish: Number of steps by which the weight is adjusted afterwards until the marked images themselves look like
            their pasted pictures; none where a rank or an exact protection confines the change. A step runs the network
            behind the layer forth and back for up to eight images. Where the marks choose the weights, they also say
            whether it helps; on images of more than 64x64 pixels it is tried only where that takes few operations.
        descent: Number of steps of descent in the image that find the change from a closed form of thirty times the
            drift; none where a rank or an exact protection confines the change. Where the marks choose the weights,
            they also say whether it does more; on images of more than 64x64 pixels it takes at most 20 steps then.
        still: Weight of ordinary images in a descent, of what hardly moves in them.
        reach: How much of the wanted change is asked for. Weights hold some of it back where nothing is marked; more
            than 1 makes up for that.

    Raises:
        ValueError: A number or word is out of range.
    """

    damage: float = 0.03
    drift: float = 0.03
    others: float = 1.0
    protect: float = 1.0
    margin: int = 1
    rank: int | None = None
    constraint: str = "written"
    steps: int = 8
    key_space: str = "patch"
    refine: int = 0
    quiet: float = 0.0
    weights: str = "given"
    finish: int = 0
    descent: int = 0
    still: float = 2.0
    reach: float = 1.0

    def __post_init__(self) -> None:
        for name in CHOSEN:
            value = getattr(self, name)
            require(math.isfinite(value) and value >= 0, f"{name} is a number of at least 0", value)
        require(self.damage > 0, "damage is more than 0", self.damage)
        require(self.protect >= 0, "protect is a number of at least 0, or infinity", self.protect)
        require(0 <= self.margin <= 64, "margin lies between 0 and 64 cells", self.margin)
        require(self.rank is None or self.rank >= 1, "rank must be at least 1", self.rank)
        require(self.constraint in CONSTRAINTS, f"constraint is one of {', '.join(CONSTRAINTS)}", self.constraint)
        require(self.weights in WEIGHTS, f"weights is one of {', '.join(WEIGHTS)}", self.weights)
        require(self.key_space in KEY_SPACES, f"key_space is one of {', '.join(KEY_SPACES)}", self.key_space)
        require(0 <= self.refine <= 1000, "refine lies between 0 and 1000 steps", self.refine)
        require(0 <= self.finish <= 1000, "finish lies between 0 and 1000 steps", self.finish)
        require(0 <= self.descent <= 1000, "descent lies between 0 and 1000 steps", self.descent)
        require(0 < self.reach <= MOST_REACH, f"reach is more than 0 and at most {MOST_REACH}", self.reach)
        require(1 <= self.steps <= 1000, "steps lie between 1 and 1000", self.steps)

    def __repr__(self) -> str:
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        unusual = [f"{name}={value!r}" for name, value in values.items() if value != getattr(Settings, name)]
        return f"Settings({', '.join(unusual)})"

    @classmethod
    def from_marks(cls) -> "Settings":
        """Settings whose weights are chosen when a rule is solved, by what would arrive in images left out."""
        return cls(weights="marks", refine=10, finish=20, descent=80)


def settings_from(document: dict) -> Settings:
    """Settings as a document has them; what it leaves out is as usual.

    Raises:
        ValueError: A setting is unknown or out of range.
    """
    only(document, {entry.name for entry in fields(Settings)}, "settings")
    values: dict[str, Any] = {}
    for name, value in document.items():
        if name in ("constraint", "key_space", "weights"):
            values[name] = typed(value, str, name)
        elif name in ("margin", "steps", "refine", "finish", "descent") or (name == "rank" and value is not None):
            values[name] = typed(value, int, name)
        elif name == "protect" and value == EXACT:
            values[name] = math.inf
        else:
            values[name] = None if value is None and name == "rank" else number(value, name)
    return Settings(**values)
