"""Artifact units as one HTML page that needs nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from dissect.charts import Point, curves
from rewrite.reports.pictures import Pair
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "artifact_page.html"
REFERENCES = {"scenes": "drawn scenes", "seeds": "the typical half of the model's own images"}


def artifact_page(document: Mapping[str, Any], pairs: Sequence[Pair], tops: Mapping[int, Sequence[Image.Image]]) -> str:
    """Write what was found as HTML.

    Args:
        document: The numbers, as in artifacts.json.
        pairs: Images of the test before and after.
        tops: The top images of some units.
    """
    ranked = [(rank, unit) for rank, unit in enumerate(document["ranking"], start=1) if unit["unit"] in tops]
    return render(
        TEMPLATE,
        title=f"Artifact units of {document['model']}, layer {document['layer']}",
        document=document,
        references=REFERENCES,
        changed=pairs,
        chart=_chart(document["steps"]),
        ranked=sorted(ranked, key=lambda entry: not entry[1]["taken"]),
        tops=tops,
    )


def _chart(steps: Sequence[Mapping[str, Any]]) -> str:
    """The distance as one unit after the other goes off; nothing where none did."""
    points = [Point(len(step["units"]), step["distance"]) for step in steps]
    return curves({"distance": points}, "The distance as units go off", "units off", "distance") if points[1:] else ""
