"""Causes as one HTML page that needs nothing else: curves, tables, and the same images with units on and off."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from dissect.charts import Point, curves
from rewrite.reports.page import whole_page
from rewrite.reports.pictures import png

SHOWN_UNITS = 12
LOOK = """
.charts{display:flex;flex-wrap:wrap;gap:1rem}.charts>div{flex:1 1 20rem;max-width:36rem}
.charts svg{width:100%;height:auto}
.strip{display:block;width:100%;min-width:36rem;height:auto;margin:.5rem 0;background:#fff;border-radius:.35rem}
nav a{margin-right:.75rem}h3{font-size:1rem;margin:1.25rem 0 .25rem}th,td small{white-space:nowrap}
.chart td:last-child{width:30%;min-width:5rem}
section{border-top:1px solid var(--line);margin-top:2rem}
"""
RANKED_BY = {
    "effect": "what each unit removes alone",
    "IoU": "agreement with the concept",
    "search": "the searched set",
    "given": "the given set",
}


def cause_page(document: Mapping[str, Any], strips: Mapping[str, Image.Image], title: str) -> str:
    """Write causes as HTML.

    Args:
        document: The causes as plain numbers, as `document_of` gives it.
        strips: For each concept some images as they are, with its set off, and with its set on in a block.
        title: What was looked at.
    """
    links = "".join(
        f'<a href="#{escape(each["concept"])}">{escape(each["concept"])}</a>' for each in document["concepts"]
    )
    sections = (_section(each, document, strips.get(each["concept"])) for each in document["concepts"])
    body = f'<h1>{escape(title)}</h1><p class="soft">{_about(document)}</p><nav>{links}</nav>{"".join(sections)}'
    return whole_page(escape(title), body, LOOK)


def _about(document: Mapping[str, Any]) -> str:
    side = document["side"]
    return (
        f"Units of layer {escape(document['layer'])} are switched off everywhere, or on in a block of {side} x {side} "
        f"cells; {escape(document['identity']['source'])} names the pixels. Units are ranked on {document['training']} "
        f"images; sets are measured on {document['samples']} others, image by image against the same image, with 95 % "
        "intervals."
    )


def _section(found: Mapping[str, Any], document: Mapping[str, Any], strip: Image.Image | None) -> str:
    name = escape(found["concept"])
    units = ", ".join(map(str, found["set"]))
    curve = found["curves"][found["ranking"]]
    best = max((point["removed"]["value"] or 0 for point in curve["points"]), default=0)
    text = (
        f"{len(found['set'])} of {document['units']} units are enough for nine tenths of the most that a ranking "
        f"removes ({_percent(best)} of the pixels of {name}): units {units}, by {RANKED_BY[found['ranking']]}."
    )
    return (
        f'<section id="{name}"><h2>{name}</h2><p>{text}</p>{_charts(found)}{_sizes(found)}{_pictures(strip, name)}'
        f"{_context(found)}{_survival(found)}{_units(found)}</section>"
    )


def _charts(found: Mapping[str, Any]) -> str:
    kinds = {"removed": "share of the pixels removed", "ace": "average causal effect in a block"}
    parts = []
    for kind, upwards in kinds.items():
        lines = {
            name: [
                Point(0, 0, 0, 0),
                *(
                    Point(point["size"], *(point[kind][end] or 0 for end in ("value", "low", "high")))
                    for point in curve["points"]
                ),
            ]
            for name, curve in found["curves"].items()
        }
        title = f"{found['concept']}: {upwards}"
        parts.append(f"<div>{curves(lines, title, 'units', upwards)}</div>")
    return f'<div class="charts">{"".join(parts)}</div>'


def _sizes(found: Mapping[str, Any]) -> str:
    rows = (
        (
            escape(RANKED_BY[name]),
            "none" if curve["effective_size"] is None else str(curve["effective_size"]),
            str(curve["points"][-1]["size"]),
            _span(curve["points"][-1]["removed"], _percent),
            _span(curve["points"][-1]["ace"], _decimal),
            ", ".join(map(str, curve["units"][:SHOWN_UNITS])),
        )
        for name, curve in found["curves"].items()
    )
    return _table(("ranked by", "enough", "at most", "removed by these", "effect of these", "first units"), rows)


def _pictures(strip: Image.Image | None, name: str) -> str:
    if strip is None:
        return ""
    content = base64.b64encode(png(strip)).decode()
    alt = f"images as they are, without the units of {name}, and with them on in the marked block"
    return (
        f'<h3>Off and on</h3><div class="scroll"><img class="strip" width="{strip.width}" height="{strip.height}" '
        f'alt="{alt}" src="data:image/png;base64,{content}"></div>'
    )


def _context(found: Mapping[str, Any]) -> str:
    if not found["context"]:
        return ""
    name, rows = escape(found["concept"]), found["context"]
    most = max(max(row["ace"]["value"] or 0 for row in rows), 1e-12)
    table = (
        (
            escape(row["context"]),
            _span(row["ace"], _decimal),
            _span(row["gained"], _percent),
            str(row["insertions"]),
            str(row["images"]),
            f'<div class="bar" style="width:{100 * max(row["ace"]["value"] or 0, 0) / most:.0f}%"></div>',
        )
        for row in rows
    )
    text = (
        "The set is switched on in one block of an image at a time, and compared with the same block with the set off, "
        f"in shares of the mean area of {name}. Rows are what stood in the middle of the block before. Gained is the "
        f"share of the block that became {name}."
    )
    return f'<h3>Where it can be inserted</h3><p class="soft">{text}</p>' + _table(
        ("what stands there", "effect", "gained", "insertions", "images", ""), table, "chart"
    )


def _survival(found: Mapping[str, Any]) -> str:
    survival = found["survival"]
    if not survival or not survival["layers"]:
        return ""
    rows = (
        (escape(layer), _percent(groups["worked"]), _percent(groups["refused"]), _times(groups))
        for layer, groups in survival["layers"].items()
    )
    text = (
        f"Change of each later layer inside the block, in shares of what it was there: where a quarter of the block or "
        f"more became {escape(found['concept'])} ({survival['worked']} insertions), and where nothing did "
        f"({survival['refused']})."
    )
    return f'<h3>How far it survives</h3><p class="soft">{text}</p>' + _table(
        ("layer", "where it worked", "where it was refused", "ratio"), rows
    )


def _units(found: Mapping[str, Any]) -> str:
    known = sorted(found["unit"], key=lambda unit: -_sortable(unit["removed"]))[:SHOWN_UNITS]
    rows = (
        (
            str(unit["unit"]),
            _span({"value": unit["removed"], "low": unit["low"], "high": unit["high"]}, _percent),
            _decimal(unit["iou"]),
            _decimal(unit["share"]),
        )
        for unit in known
    )
    return (
        "<details><summary>Units alone</summary>"
        + _table(("unit", "removed", "IoU", "share in the searched set"), rows)
        + "</details>"
    )


def _sortable(value: float | None) -> float:
    """A number to sort by; what is not known comes last."""
    return float("-inf") if value is None else value


def _times(groups: Mapping[str, float | None]) -> str:
    worked, refused = groups["worked"], groups["refused"]
    return "–" if not worked or not refused else f"{worked / refused:.2f}"


def _span(ends: Mapping[str, float | None], write) -> str:
    if ends["low"] is None or ends["high"] is None:
        return write(ends["value"])
    return f"{write(ends['value'])} <small>({write(ends['low'])} to {write(ends['high'])})</small>"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], style: str = "") -> str:
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table class="{style}"><tr>{head}</tr>{body}</table></div>'
