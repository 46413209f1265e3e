"""Specialties as one HTML page that needs nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from dissect.specialties.losses import PARTS
from dissect.specialties.sheets import Sheets
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "specialty_page.html"
TOLD = {"subclass": "pictures that light the unit", "rest": "the rest of the class", "elsewhere": "all other classes"}


def specialty_page(
    document: Mapping[str, Any], sheets: Sequence[Sheets], views: Mapping[str, Image.Image], title: str
) -> str:
    """Write specialties as HTML.

    Args:
        document: The specialties as plain numbers, as `document_of` gives it.
        sheets: The pictures of each subclass.
        views: For each kind of view, units by classes.
        title: What was looked at.
    """
    chosen = [next(row for row in each["sets"] if row["units"] == each["chosen"]) for each in document["subclasses"]]
    return render(
        TEMPLATE, document=document, sheets=sheets, views=views, title=title, parts=PARTS, told=TOLD, chosen=chosen
    )
