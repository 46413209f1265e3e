"""A dissection as one HTML page that needs nothing else: the units with their images, to sort and to filter."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from dissect.charts import bars
from dissect.units.unit_cards import cards_of
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "unit_page.html"


def unit_page(
    document: Mapping[str, Any],
    strips: Mapping[str, Sequence[Image.Image]],
    ious: Mapping[str, Float[np.ndarray, "units concepts"]],
    title: str,
) -> str:
    """Write a dissection as HTML.

    Args:
        document: The dissection as plain numbers, as `document_of` gives it.
        strips: For every layer the strip of each unit.
        ious: For every layer the agreement of each unit with each concept.
        title: What was dissected.
    """
    layers, concepts = document["layers"], document["concepts"]
    categories = {concept["name"]: concept["category"] for concept in concepts}
    paths = [layer["layer"] for layer in layers]
    shares = [(name, count / layer["units"]) for layer in layers for name, count in layer["by_concept"].items()]
    return render(
        TEMPLATE,
        document=document,
        title=title,
        cards=cards_of(document, strips, ious),
        charts={layer["layer"]: _chart(layer, categories) for layer in layers},
        names=sorted((concept["name"], number) for number, concept in enumerate(concepts)),
        short=short_names(paths) if len(paths) > 1 else paths,
        detected={name for name, _ in shares},
        most=max((share for _, share in shares), default=1),
    )


def _chart(layer: Mapping[str, Any], categories: Mapping[str, str]) -> str:
    title = f"Units of {layer['layer']} by the concept that they detect"
    return bars(layer["by_concept"], categories, title) if layer["by_concept"] else ""


def short_names(names: Sequence[str]) -> list[str]:
    """Paths without the beginning and the end that all of them share."""
    parts = [name.split(".") for name in names]
    shortest = min(len(each) for each in parts) - 1
    start = next((i for i in range(shortest) if len({each[i] for each in parts}) > 1), shortest)
    end = next((i for i in range(shortest - start) if len({each[-1 - i] for each in parts}) > 1), shortest - start)
    return [".".join(each[start : len(each) - end]) for each in parts]
