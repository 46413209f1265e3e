"""The price of a rule before it is applied: the solver's forecast, and that of bolder and more cautious patches."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dissect.charts import Axes
from rewrite import Patch
from rewrite.reports.forecast import Expected, notes_of, unmarked
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "price.html"
# The caution of the other points of the curve, relative to the chosen one.
STEPS = (-1.0, -0.5, 0.5, 1.0)
MOST_OF_IT = 0.95
COLOURS, MOVES = "strays in the image", "moves in the image"
UNMARKED = {
    "arrives in the image": ("Arrives where you did not mark", "share of the way to the pasted picture"),
    MOVES: ("Changes beside it", "share of all other pixels whose colour moves"),
    COLOURS: ("By how much", "change of all other pixels, for colours from -1 to 1"),
    "arrives at the layer": ("Layer, where you did not mark", "share of the wanted change that the layer will write"),
    "beside at the layer": ("Layer, beside it", "change of what this layer writes there"),
}
AT_MARKS = {
    False: "share of the wanted change that the layer will write",
    True: "share of what the marked images lack of the pasted pictures",
}
AXES = Axes(1, 0, 1, left=58, end=306, top=12, base=136)


@dataclass(frozen=True)
class Price:
    """The forecast of a patch.

    Attributes:
        caution: The caution that it was solved with; see `Choices`.
        unmarked: What is expected at unmarked places: what arrives there first.
        notes: What a reader should know beside the numbers.
        efficacy: Share of the wanted change at the marked places; of a descent, of what was missing in their images.
        in_image: Whether that is seen in the image, and not at the layer.
        damage: Relative change of what the layer writes elsewhere.
        drift: Mean ratio of the demodulation after and before.
        others: Relative change at places of the marked images that are not marked.
        protected: The same at protected places, or None if there are none.
        rank: Number of directions.
        most: Number of directions that carry 95 % of the change.
    """

    caution: float
    unmarked: Sequence[Expected]
    notes: Sequence[str]
    efficacy: float
    in_image: bool
    damage: float
    drift: float
    others: float | None
    protected: float | None
    rank: int
    most: int

    @classmethod
    def of(cls, patch: Patch, caution: float) -> "Price":
        """The price of a patch."""
        forecast = patch.forecast
        return cls(
            caution=caution,
            unmarked=unmarked(forecast),
            notes=notes_of(forecast),
            efficacy=_at_marks(forecast),
            in_image="descent" in forecast,
            damage=forecast["damage"],
            drift=forecast["drift"],
            others=forecast["interference"].get("others"),
            protected=forecast["interference"].get("protected"),
            rank=patch.rank,
            most=carrying(patch),
        )

    @property
    def moves(self) -> float | None:
        """The share of the pixels beside unmarked places whose colour moves, where it is known."""
        return next((each.value for each in self.unmarked if each.name == MOVES), None)

    @property
    def arrives(self) -> float:
        """What arrives at unmarked places, or at the marks where the other is not known."""
        return self.unmarked[0].value if self.unmarked else self.efficacy


def carrying(patch: Patch) -> int:
    """The number of directions that carry 95 % of a patch's change."""
    sizes = patch.left.double().square().sum(dim=0).square()
    return int((sizes.cumsum(dim=0) < MOST_OF_IT * sizes.sum()).sum()) + 1


def card(price: Price, curve: Sequence[Price] = (), *, waiting: bool = False) -> str:
    """The price as HTML.

    Args:
        price: The price.
        curve: The prices of bolder and more careful answers.
        waiting: Whether there are more of them to come.
    """
    rows = [
        ("Arrives at the marks", percent(price.efficacy), AT_MARKS[price.in_image]),
        ("Changes elsewhere", percent(price.damage), "expected change of what this layer writes in other images"),
    ]
    if price.others is not None:
        rows.append(("Beside the marks", percent(price.others), "change in the unmarked parts of the marked images"))
    if price.protected is not None:
        rows.append(("Protected places", percent(price.protected), "change where you said that nothing may change"))
    rows.append(("Drift", f"{price.drift:.2f} ×", "how far the layer's own scaling moves; 1 is not at all"))
    rows.append(("Directions", str(price.rank), f"{price.most} of them carry 95 % of the change"))
    points = sorted((*curve, price), key=lambda each: each.caution)
    return render(
        TEMPLATE,
        price=price,
        summary=summary(price),
        verdict=verdict(price),
        unmarked=[(*UNMARKED[each.name], _shown(each), _spread(each)) for each in price.unmarked],
        rows=rows,
        axes=AXES,
        farthest=farthest(points),
        dots=plot(points),
        waiting=waiting,
        percent=percent,
    )


def summary(price: Price) -> str:
    """What is expected at unmarked places, and elsewhere, in a sentence."""
    if not price.unmarked:
        return "What would arrive where you did not mark is not known yet: mark three images or more."
    arrives, moves = percent(price.arrives), price.moves
    beside = "" if moves is None else f"; {percent(moves)} of all other pixels would change their colour"
    return f"About {arrives} of the way to the pasted picture would be gone where you did not mark{beside}."


def verdict(price: Price) -> str:
    """What to do about a price that is bad, in a sentence; empty if it is fair."""
    if price.arrives < 0.2:
        return "Little of it would arrive: mark more contexts, or be less cautious."
    if price.damage > 0.3:
        return "Much would change elsewhere: mark more contexts, protect what must stay, or be more cautious."
    return ""


def _at_marks(forecast: Mapping[str, Any]) -> float:
    if "descent" not in forecast:
        return 1 - forecast["residual"]
    before, after = forecast["descent"]["missed"]
    return 1 - after / max(before, 1e-12)


def _shown(expected: Expected) -> str:
    return f"{expected.value:.3f}" if expected.name == COLOURS else percent(expected.value)


def _spread(expected: Expected) -> str:
    """The least and the greatest of the images that were left out."""
    return "" if expected.ends is None else f"{percent(expected.ends[0])} to {percent(expected.ends[1])}"


def percent(share: float) -> str:
    """A share as people read it."""
    return "not known" if not math.isfinite(share) else f"{100 * share:.0f} %"


def farthest(points: Sequence[Price]) -> float:
    """The damage at the end of the axis, a little more than the greatest of some answers."""
    return max(0.05, *(each.damage for each in points)) * 1.08


def plot(points: Sequence[Price]) -> list[tuple[Price, float, float]]:
    """Where answers stand on the axes: damage to the right, as a share of the farthest, and efficacy upwards."""
    far = farthest(points)
    return [
        (each, AXES.x(min(1.0, max(0.0, each.damage) / far)), AXES.y(min(1.0, max(0.0, each.efficacy))))
        for each in points
    ]
