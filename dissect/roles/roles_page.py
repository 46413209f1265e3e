"""Roles as one HTML page that needs nothing else: the table of classes, its chart, and units beside concepts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from dissect.charts import Point, curves
from dissect.roles.document import KINDS
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "roles_page.html"
# Of many classes the chart shows those that lose most.
MOST_SHOWN = 40


def roles_page(document: Mapping[str, Any], title: str) -> str:
    """Write roles as HTML.

    Args:
        document: The roles as plain numbers, as `document_of` gives it.
        title: What was looked at.
    """
    found = document["interpretability"]
    return render(
        TEMPLATE,
        document=document,
        title=title,
        kinds=kinds_of(document),
        chart=_chart(document),
        agreement=None if found is None else _agreement(found),
    )


def kinds_of(document: Mapping[str, Any]) -> dict[str, str]:
    """What is off in each column of the table."""
    few, more, units = document["few"], document["more"], document["units"]
    return dict(zip(KINDS, (f"{few} best off", f"{more} best off", f"{units - more} others off"), strict=True))


def _chart(document: Mapping[str, Any]) -> Markup:
    """Balanced accuracy of the classes, those that lose most first."""
    rows = sorted(document["classes"], key=lambda row: row["few"]["value"])[:MOST_SHOWN]
    named = {"unchanged": "unchanged", **kinds_of(document)}
    lines = {
        text: [Point(place, 100 * row[kind]["value"], *_ends(row[kind])) for place, row in enumerate(rows)]
        for kind, text in named.items()
    }
    return curves(
        lines, "balanced accuracy of each class", "classes, in the order of the table", "balanced accuracy, %"
    )


def _ends(interval: Mapping[str, float]) -> tuple[float, float]:
    return 100 * interval["low"], 100 * interval["high"]


def _agreement(found: Mapping[str, Any]) -> Markup:
    points = [
        Point(int(number), interval["value"], interval["low"], interval["high"])
        for number, interval in found["iou_by_classes"].items()
    ]
    title = "agreement of units with concepts by how many classes need them"
    return curves({"mean best IoU": points}, title, "classes of which a unit is among the best", "IoU")
