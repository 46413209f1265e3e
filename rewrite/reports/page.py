"""A report as one HTML page that needs nothing else: no script, no outside resource, pictures as data URIs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from rewrite.reports.pictures import Pair
from rewrite.reports.rendering import render

TEMPLATES = Path(__file__).parent / "templates"
MEASURED = {
    "concepts": (
        "Share of the pixels that showed what the rule replaces and that now show what it wants.",
        "Share of all other pixels whose concept changed.",
    ),
    "places": (
        "Share of the wanted change that happened at the layer, on the images that the rule was marked on.",
        "Share of the pixels outside the marks whose colour moved, on the images that the rule was marked on.",
    ),
    "colours": ("No rule says what is wanted.", "Share of all pixels whose colour moved."),
}
FORECAST = {
    "residual": "Share of the wanted change that is missing at the marked places.",
    "damage": "Expected relative change of what the layer writes elsewhere.",
    "drift": "Mean ratio of the layer's demodulation to what it was; 1 is none.",
    "interference": "Relative change at places that were to stay.",
}


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
        meanings=MEASURED[document["measured_by"]],
        expected={each["measure"]: each for each in document["expectations"]},
        forecast=[
            (f"{patch['layer']}: {name}", number, meaning)
            for patch in document["patches"]
            for name, number, meaning in forecast_of(patch["forecast"])
        ],
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
    return render(TEMPLATES / "report_summary.html", document=document, strip=strip)


def forecast_of(forecast: Mapping[str, Any]) -> Iterable[tuple[str, int | float, str]]:
    """The numbers that the solver expected of a patch, each with what it means."""
    for name, meaning in FORECAST.items():
        value = forecast.get(name)
        for part, number in value.items() if isinstance(value, Mapping) else [("", value)]:
            if isinstance(number, int | float):
                yield f"{name} {part}".strip(), number, meaning
