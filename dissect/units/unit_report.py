"""A dissection in a folder, for people and for programs: one HTML page, JSON and CSV."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dissect.units.dissection import Dissection
from dissect.units.probe import Probe
from dissect.units.scores import DETECTOR_IOU
from dissect.units.summary import as_json, document_of, units_csv
from dissect.units.tiles import unit_strips
from dissect.units.unit_page import unit_page
from rewrite.storage.files import write_together


def write_units(
    folder: str | Path,
    probe: Probe,
    found: Mapping[str, Dissection],
    title: str = "Units",
    *,
    least: float = DETECTOR_IOU,
    progress: bool = False,
) -> dict[str, Any]:
    """Write units.html, units.json and units.csv. The images that drive the units most are drawn once more for it.

    Args:
        folder: Where to write.
        probe: What was dissected.
        found: What was found, by layer.
        title: The heading of the page.
        least: The IoU above which a unit detects a concept.
        progress: Show a progress bar.

    Returns:
        What units.json holds.
    """
    document = document_of(found, least)
    strips = unit_strips(probe, found, progress=progress)
    ious = {view: one.scores.iou for view, one in found.items()}
    contents = {
        "units.json": as_json(document),
        "units.csv": units_csv(found),
        "units.html": unit_page(document, strips, ious, title),
    }
    write_together(folder, {name: text.encode() for name, text in contents.items()})
    return document
