"""Charts as SVG, drawn with nothing but text: bars by category, and curves with their intervals."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

COLOURS = ("#7a5ea8", "#2f7f79", "#b8652a", "#3d6fb4", "#9a4f72", "#6b7d2e", "#8a6d3b", "#5b6470")
BAR, GAP, HEIGHT, TOP, LEFT = 16, 4, 120, 38, 8


class Point(NamedTuple):
    """One point of a curve, with the ends of its interval where there is one."""

    x: int | float
    y: int | float
    low: int | float | None = None
    high: int | float | None = None


def colour_of(number: int) -> str:
    """A colour for each category."""
    return COLOURS[number % len(COLOURS)]


def bars(counts: Mapping[str, int], categories: Mapping[str, str], title: str) -> str:
    """A bar for each name, side by side with others of its category, the highest first.

    Args:
        counts: The height of each bar.
        categories: The category of each name, and of names without a bar: colours go by the order of categories.
        title: What the chart shows, for those who cannot see it.
    """
    colours = {kind: colour_of(number) for number, kind in enumerate(dict.fromkeys(categories.values()))}
    totals = {kind: sum(counts[name] for name in counts if categories[name] == kind) for kind in colours}
    kinds = sorted((kind for kind in totals if totals[kind]), key=lambda kind: -totals[kind])
    most = max(counts.values(), default=1)
    parts, x = [], LEFT
    for kind in kinds:
        names = sorted((name for name in counts if categories[name] == kind), key=lambda name: -counts[name])
        colour = colours[kind]
        parts.append(f'<text x="{x}" y="14" class="k" fill="{colour}">{escape(kind)} {totals[kind]}</text>')
        for name in names:
            high = HEIGHT * counts[name] / most
            base = TOP + HEIGHT
            parts.append(
                f'<rect x="{x}" y="{base - high:.1f}" width="{BAR}" height="{high:.1f}" fill="{colour}">'
                f"<title>{escape(name)}: {counts[name]}</title></rect>"
                f'<text x="{x + BAR / 2}" y="{base - high - 3:.1f}" class="n">{counts[name]}</text>'
                f'<text class="l" transform="translate({x + BAR / 2 + 4},{base + 6}) rotate(60)">{escape(name)}</text>'
            )
            x += BAR + GAP
        # The category's own line above its bars needs room, too.
        x = max(x, x - len(names) * (BAR + GAP) + 8 * (len(kind) + 4)) + 2 * GAP
    longest = max((len(name) for name in counts), default=0)
    size = (x + 4 * longest, TOP + HEIGHT + 12 + 7 * longest)
    return _svg(size, title, parts)


def curves(lines: Mapping[str, Sequence[Point]], title: str, across: str, upwards: str) -> str:
    """Lines over one pair of axes that begin at zero, or below it where a line or an interval does.

    Args:
        lines: The points of each line, in order.
        title: What the chart shows.
        across: What the horizontal axis measures.
        upwards: What the vertical axis measures.
    """
    points = [point for line in lines.values() for point in line]
    right = max((point.x for point in points), default=1) or 1
    most = max(max((max(point.y, point.high or 0) for point in points), default=1), 0) or 1
    least = min((min(point.y, 0 if point.low is None else point.low) for point in points), default=0)
    least = min(least, 0)
    width, height, left, base = 420, 220, 64, 240

    def place(point_x: int | float, point_y: int | float) -> str:
        return f"{left + width * point_x / right:.1f},{base - height * (point_y - least) / (most - least):.1f}"

    parts = [
        f'<path d="M{left},{base - height}V{base}M{place(0, 0)}H{left + width}" class="a"/>',
        f'<text x="{left + width / 2}" y="{base + 36}" class="n">{escape(across)}</text>',
        f'<text class="n" transform="translate(12,{base - height / 2}) rotate(-90)">{escape(upwards)}</text>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        level = least + share * (most - least)
        across_at, up_at = place(share * right, 0).split(",")[0], place(0, level).split(",")[1]
        parts.append(f'<text x="{across_at}" y="{base + 16}" class="n">{share * right:.3g}</text>')
        parts.append(f'<text x="{left - 6}" y="{float(up_at) + 4}" class="e">{_tick(level)}</text>')
    for number, (name, line) in enumerate(lines.items()):
        colour = colour_of(number)
        known = [point for point in line if point.low is not None and point.high is not None]
        if known:
            outline = [place(p.x, p.high) for p in known] + [place(p.x, p.low) for p in reversed(known)]
            parts.append(f'<polygon points="{" ".join(outline)}" fill="{colour}" opacity=".18"/>')
        way = " ".join(place(point.x, point.y) for point in line)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in line:
            x, y = place(point.x, point.y).split(",")
            text = f"{escape(name)} at {point.x:.3g}: {point.y:.4g}"
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"><title>{text}</title></circle>')
        beside = f'x="{left + width + 10}" y="{base - height + 14 + 18 * number}"'
        parts.append(f'<text {beside} fill="{colour}">{escape(name)}</text>')
    longest = max((len(name) for name in lines), default=0)
    return _svg((left + width + 20 + 8 * longest, base + 44), title, parts)


def _tick(value: int | float) -> str:
    """A number beside an axis, in few characters."""
    return f"{value:.3g}" if value >= 1 else f"{value:.2g}"


def _svg(size: tuple[int | float, int | float], title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" width="{size[0]:.0f}" height="{size[1]:.0f}" viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title><style>'
        "svg text{font:12px system-ui,sans-serif}svg text:not([fill]){fill:currentColor}"
        ".n{text-anchor:middle}.e{text-anchor:end}svg .k{font-weight:600}"
        ".a{fill:none;stroke:currentColor;opacity:.5}</style>" + "".join(parts) + "</svg>"
    )
