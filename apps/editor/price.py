"""The price of a rule before it is applied: what the solver expects, and what bolder answers would cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rewrite import Patch

# How much more, or less, careful the other points of the curve are, as powers of ten.
STEPS = (-1.0, -0.5, 0.5, 1.0)
MOST_OF_IT = 0.95
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 320, 170, 44, 34, 12, 14


@dataclass(frozen=True)
class Price:
    """What the solver expects of a patch.

    Attributes:
        caution: How careful it is, as a power of ten beside the usual.
        efficacy: Share of the wanted change that happens at the marked places.
        damage: Relative change of what the layer writes elsewhere.
        drift: Mean ratio of the demodulation to what it was.
        others: Relative change at places of the marked images that are not marked.
        protected: The same at protected places, or None where there are none.
        rank: Number of directions.
        most: How many of them carry 95 % of the change.
    """

    caution: float
    efficacy: float
    damage: float
    drift: float
    others: float | None
    protected: float | None
    rank: int
    most: int

    @classmethod
    def of(cls, patch: Patch, caution: float) -> "Price":
        """The price of a rule that is solved."""
        forecast = patch.forecast
        return cls(
            caution=caution,
            efficacy=1 - forecast["residual"],
            damage=forecast["damage"],
            drift=forecast["drift"],
            others=forecast["interference"].get("others"),
            protected=forecast["interference"].get("protected"),
            rank=patch.rank,
            most=carrying(patch),
        )


def carrying(patch: Patch) -> int:
    """How many directions of a patch carry 95 % of its change."""
    sizes = patch.left.double().square().sum(dim=0).square()
    return int((sizes.cumsum(dim=0) < MOST_OF_IT * sizes.sum()).sum()) + 1


def card(price: Price, curve: Sequence[Price] = (), *, waiting: bool = False) -> str:
    """The price as HTML; it holds numbers of this library and nothing else.

    Args:
        price: The price.
        curve: The prices of bolder and more careful answers.
        waiting: Whether there are more of them to come.
    """
    rows = [
        ("Arrives at the marks", percent(price.efficacy), "share of the wanted change that the layer will write"),
        ("Changes elsewhere", percent(price.damage), "expected change of what this layer writes in other images"),
    ]
    if price.others is not None:
        rows.append(("Beside the marks", percent(price.others), "change in the unmarked parts of the marked images"))
    if price.protected is not None:
        rows.append(("Protected places", percent(price.protected), "change where you said that nothing may change"))
    rows.append(("Drift", f"{price.drift:.2f} ×", "how far the layer's own scaling moves; 1 is not at all"))
    rows.append(("Directions", str(price.rank), f"{price.most} of them carry 95 % of the change"))
    table = "".join(
        f"<div><dt>{escape(name)}<small>{escape(text)}</small></dt><dd>{escape(value)}</dd></div>"
        for name, value, text in rows
    )
    return (
        f'<div class="price"><h3>The price, before anything is changed</h3><p>{verdict(price)}</p>'
        f"<dl>{table}</dl>{plot(price, curve, waiting)}</div>"
    )


def verdict(price: Price) -> str:
    """What the numbers say, in a sentence."""
    if price.efficacy < 0.2:
        return "Little of it would arrive: mark more contexts, or be less cautious."
    if price.damage > 0.3:
        return "Much would change elsewhere: mark more contexts, protect what must stay, or be more cautious."
    return "A fair exchange. Press Rewrite, then compare before and after."


def percent(share: float) -> str:
    """A share as people read it."""
    return "not known" if not math.isfinite(share) else f"{100 * share:.0f} %"


def plot(price: Price, curve: Sequence[Price], waiting: bool) -> str:
    """Efficacy against damage as SVG: one point for each answer, the chosen one filled."""
    points = sorted((*curve, price), key=lambda each: each.caution)
    if len(points) < 2:
        return '<p class="soft">Bolder and more careful answers are being tried …</p>' if waiting else ""
    far = max(0.05, *(each.damage for each in points)) * 1.08

    def at(each: Price) -> tuple[float, float]:
        x = LEFT + min(1.0, max(0.0, each.damage) / far) * (WIDTH - LEFT - RIGHT)
        return x, HEIGHT - BOTTOM - min(1.0, max(0.0, each.efficacy)) * (HEIGHT - BOTTOM - TOP)

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, points))
    dots = "".join(_dot(each, at(each), each is price) for each in points)
    floor, middle = HEIGHT - BOTTOM, (HEIGHT - BOTTOM + TOP) / 2 + 26
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Efficacy against damage, for several answers">'
        f'<path d="M{LEFT} {TOP}V{floor}H{WIDTH - RIGHT}" class="axis"/>'
        f'<text x="{LEFT - 6}" y="{TOP + 8}" text-anchor="end">100 %</text>'
        f'<text x="{LEFT - 6}" y="{floor}" text-anchor="end">0 %</text>'
        f'<text x="{WIDTH - RIGHT}" y="{floor + 14}" text-anchor="end">{percent(far)}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 4}">→ changes elsewhere</text>'
        f'<text x="12" y="{middle}" transform="rotate(-90 12 {middle})">→ arrives</text>'
        f'<polyline points="{line}" class="line"/>{dots}</svg>'
        '<p class="soft">From careful (left) to bold (right); the filled point is yours. Move it with “Caution” under '
        "“Where and how”.</p>"
    )


def _dot(price: Price, place: tuple[float, float], chosen: bool) -> str:
    text = f"caution {price.caution:g}: {percent(price.efficacy)} arrives, {percent(price.damage)} changes elsewhere"
    kind = "dot chosen" if chosen else "dot"
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="5" class="{kind}"><title>{text}</title></circle>'
