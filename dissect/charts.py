"""Charts as SVG, drawn with nothing but text: bars by category, and curves with their intervals."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from rewrite.reports.rendering import render

TEMPLATES = Path(__file__).parent / "templates"
COLOURS = ("#7a5ea8", "#2f7f79", "#b8652a", "#3d6fb4", "#6b7d2e", "#9a4f72", "#8a6d3b", "#5b6470")
BAR, GAP, HEIGHT, TOP, LEFT = 16, 4, 120, 38, 8


class Point(NamedTuple):
    """One point of a curve, with the ends of its interval where there is one, and what is written beside it."""

    x: int | float
    y: int | float
    low: int | float | None = None
    high: int | float | None = None
    label: str = ""


class Axes(NamedTuple):
    """Where points stand in the picture, in pixels: from zero to `right` across, from `least` to `most` upwards."""

    right: int | float
    least: int | float
    most: int | float
    left: int = 64
    end: int = 484
    top: int = 20
    base: int = 240

    @classmethod
    def around(cls, points: Sequence[Point]) -> "Axes":
        """Axes that hold some points and their intervals."""
        right = max((point.x for point in points), default=1) or 1
        most = max(max((max(point.y, point.high or 0) for point in points), default=1), 0) or 1
        least = min((min(point.y, 0 if point.low is None else point.low) for point in points), default=0)
        return cls(right, min(least, 0), most)

    def x(self, value: int | float) -> float:
        """How far to the right a value stands."""
        return round(self.left + (self.end - self.left) * value / self.right, 1)

    def y(self, value: int | float) -> float:
        """How far down a value stands."""
        return round(self.base - (self.base - self.top) * (value - self.least) / (self.most - self.least), 1)


def colour_of(number: int) -> str:
    """A colour for each category."""
    return COLOURS[number % len(COLOURS)]


def bars(counts: Mapping[str, int], categories: Mapping[str, str], title: str) -> Markup:
    """A bar for each name, side by side with others of its category, the highest first.

    Args:
        counts: The height of each bar.
        categories: The category of each name, and of names without a bar: colours go by the order of categories.
        title: What the chart shows, for those who cannot see it.
    """
    colours = {kind: colour_of(number) for number, kind in enumerate(dict.fromkeys(categories.values()))}
    totals = Counter(dict.fromkeys(colours, 0))
    for name, count in counts.items():
        totals[categories[name]] += count
    kinds, x = [], LEFT
    for kind, total in totals.most_common():
        if total:
            members = sorted(
                (name for name in counts if categories[name] == kind), key=counts.__getitem__, reverse=True
            )
            kinds.append({"name": kind, "total": total, "colour": colours[kind], "x": x, "members": members})
            # The category's own line above its bars needs room, too.
            x += max(len(members) * (BAR + GAP), 8 * (len(kind) + 4)) + 2 * GAP
    longest = max((len(name) for name in counts), default=0)
    size = (x + 4 * longest, TOP + HEIGHT + 12 + 7 * longest)
    scale = HEIGHT / (max(counts.values(), default=0) or 1)
    shown = {"kinds": kinds, "counts": counts, "scale": scale, "base": TOP + HEIGHT, "bar": BAR, "step": BAR + GAP}
    return _drawn("bars.svg", size, title, **shown)


def curves(
    lines: Mapping[str, Sequence[Point]], title: str, across: str, upwards: str, axes: Axes | None = None
) -> Markup:
    """Lines over one pair of axes that begin at zero, or below it where a line or an interval does.

    Args:
        lines: The points of each line, in order.
        title: What the chart shows.
        across: What the horizontal axis measures.
        upwards: What the vertical axis measures.
        axes: Where points stand; around all of them if left out.
    """
    axes = axes or Axes.around([point for line in lines.values() for point in line])
    longest = max((len(name) for name in lines), default=0)
    size = (axes.end + 20 + 8 * longest, axes.base + 44)
    shown = {"lines": lines, "axes": axes, "across": across, "upwards": upwards, "colour_of": colour_of}
    return _drawn("curves.svg", size, title, **shown)


def _drawn(template: str, size: tuple[int, int], title: str, **shown: Any) -> Markup:
    return Markup(render(TEMPLATES / template, width=size[0], height=size[1], title=title, **shown))
