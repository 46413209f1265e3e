"""A report as one HTML page that needs nothing else: no script, no outside resource, pictures as data URIs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from rewrite.reports.figures import figures_of
from rewrite.reports.forecast import summary_of
from rewrite.reports.pictures import Pair
from rewrite.reports.rendering import render

TEMPLATES = Path(__file__).parent / "templates"
# Once more, under the name that earlier versions gave it.
REPEATED = "outside"


def page(document: Mapping[str, Any], shown: Sequence[Pair], worst: Sequence[Pair], change: Image.Image) -> str:
    """Write a report as HTML.

    Args:
        document: The report as plain numbers and texts, as in report.json.
        shown: The first images before and after.
        worst: Those with the most change outside.
        change: Where colours moved, over all images.
    """
    return render(
        TEMPLATES / "report.html",
        document=document,
        title=" + ".join(document["rules"]) or "A patch without a rule",
        figures=figures_of(document),
        expected={each["measure"]: each for each in document["expectations"]},
        forecasts=[(patch["layer"], summary_of(patch["forecast"])) for patch in document["patches"]],
        columns=_columns(document["per_image"][0]),
        shown=shown,
        worst=worst,
        change=change,
    )


def summary(document: Mapping[str, Any], strip: Image.Image | None) -> str:
    """Write the figures of a report as a part of a page, as notebooks show it.

    Args:
        document: The report as plain numbers and texts, as in report.json.
        strip: The same seeds before and after.
    """
    return render(TEMPLATES / "report_summary.html", document=document, strip=strip, figures=figures_of(document))


def _columns(image: Mapping[str, Any]) -> list[str]:
    return [name for name in image if name != REPEATED or "outside_strict" not in image]
