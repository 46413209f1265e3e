"""Causes as one HTML page that needs nothing else: curves, tables, and the same images with units on and off."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from dissect.charts import Point, curves
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "cause_page.html"
SHOWN_UNITS = 12
LEAST = 1e-12  # of what the bars are drawn in shares of
RANKED_BY = {
    "effect": "what each unit removes alone",
    "IoU": "agreement with the concept",
    "search": "the searched set",
    "given": "the given set",
}
CHARTS = {"removed": "share of the pixels removed", "ace": "average causal effect in a block"}


def cause_page(document: Mapping[str, Any], strips: Mapping[str, Image.Image], title: str) -> str:
    """Write causes as HTML.

    Args:
        document: The causes as plain numbers, as `document_of` gives it.
        strips: For each concept some images as they are, with its set off, and with its set on in a block.
        title: What was looked at.
    """
    by_concept = {found["concept"]: found for found in document["concepts"]}
    return render(
        TEMPLATE,
        document=document,
        strips=strips,
        title=title,
        ranked_by=RANKED_BY,
        shown_units=SHOWN_UNITS,
        charts={name: [_chart(found, kind) for kind in CHARTS] for name, found in by_concept.items()},
        most_removed={
            name: _most(point["removed"] for point in found["curves"][found["ranking"]]["points"])
            for name, found in by_concept.items()
        },
        most_inserted={
            name: max(_most(row["ace"] for row in found["context"]), LEAST) for name, found in by_concept.items()
        },
        alone={name: _first(found["unit"]) for name, found in by_concept.items()},
    )


def _chart(found: Mapping[str, Any], kind: str) -> str:
    """The curve of each ranking, from no unit on."""
    lines = {
        ranking: [Point(0, 0, 0, 0), *(_point(point["size"], point[kind]) for point in curve["points"])]
        for ranking, curve in found["curves"].items()
    }
    return curves(lines, f"{found['concept']}: {CHARTS[kind]}", "units", CHARTS[kind])


def _point(size: int, found: Mapping[str, int | float | None]) -> Point:
    value, low, high = (found[end] or 0 for end in ("value", "low", "high"))
    return Point(size, value, low, high)


def _most(found: Iterable[Mapping[str, int | float | None]]) -> int | float:
    """The largest of some values; what is not known counts as nothing."""
    return max((each["value"] or 0 for each in found), default=0)


def _first(units: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The units that remove most alone; those of which that is not known come last."""
    known = sorted(units, key=lambda unit: float("-inf") if unit["removed"] is None else unit["removed"], reverse=True)
    return known[:SHOWN_UNITS]
