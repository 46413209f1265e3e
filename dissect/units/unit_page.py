"""A dissection as one HTML page that needs nothing else: the units with their images, to sort and to filter."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from dissect.charts import bars
from dissect.units.unit_cards import LOOK as CARDS
from dissect.units.unit_cards import SCRIPT, cards_data
from rewrite.reports.page import whole_page

# No network at all; the page's own script and pictures are inside it.
POLICY = "default-src 'none';img-src data:;style-src 'unsafe-inline';script-src 'unsafe-inline'"
LOOK = (
    CARDS
    + """
.overview td,.overview th{text-align:center;padding:.15rem .5rem;font-weight:400;white-space:nowrap}
.overview th:first-child{text-align:left}
"""
)


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
    layers = document["layers"]
    body = (
        f'<h1>{escape(title)}</h1><p class="soft">{_about(document)}</p>'
        f"{_overview(layers, document['concepts'])}{_tools(layers, document['concepts'])}"
        + "".join(_layer(layer, document) for layer in layers)
        + '<section class="units" id="units"></section><p id="end" class="soft">more units below</p>'
        "<noscript><p>This page draws its units with a script; units.csv holds the same numbers.</p></noscript>"
        f'<script type="application/json" id="data">{cards_data(document, strips, ious)}</script>'
        f"<script>{SCRIPT}</script>"
    )
    return whole_page(escape(title), body, LOOK, POLICY)


def _about(document: Mapping[str, Any]) -> str:
    identity, rule = document["identity"], document["rule"]
    return (
        f"{document['images']} images, whose pixels were named by {escape(str(identity.get('source', '')))}. "
        f"A unit is lit where it passes its level, which {_percent(identity['tail'])} of the pixels of other images "
        f"pass. It detects a concept where the IoU is above {rule['iou']:g}. Faded: agreement that chance may give, at "
        f"a rate of {_percent(rule['false_discoveries'])} false discoveries."
    )


def _overview(layers: Sequence[Mapping], concepts: Sequence[Mapping]) -> str:
    """How many units of each layer detect each concept, where there is more than one layer."""
    if len(layers) < 2:
        return ""
    found = [concept for concept in concepts if any(concept["name"] in layer["by_concept"] for layer in layers)]
    most = max((count / layer["units"] for layer in layers for count in layer["by_concept"].values()), default=1)

    def cell(layer: Mapping, name: str) -> str:
        count = layer["by_concept"].get(name, 0)
        shade = round(60 * count / layer["units"] / most)
        colour = f"background:color-mix(in srgb,var(--bar) {shade}%,transparent)"
        return f'<td style="{colour}">{count or ""}</td>'

    names = short_names([layer["layer"] for layer in layers])
    heads = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = "".join(
        f"<tr><th>{escape(concept['name'])}</th>{''.join(cell(layer, concept['name']) for layer in layers)}</tr>"
        for concept in found
    )
    ends = "".join(f"<th>{layer['detectors']} of {layer['units']}</th>" for layer in layers)
    return (
        '<h2>Units that detect, by layer</h2><div class="scroll"><table class="overview">'
        f"<tr><th></th>{heads}</tr>{rows}"
        f"<tr><th>all</th>{ends}</tr></table></div><h2>Unit by unit</h2>"
    )


def short_names(names: Sequence[str]) -> list[str]:
    """Paths without the beginning and the end that all of them share."""
    parts = [name.split(".") for name in names]
    shortest = min(len(each) for each in parts) - 1
    start = next((i for i in range(shortest) if len({each[i] for each in parts}) > 1), shortest)
    end = next((i for i in range(shortest - start) if len({each[-1 - i] for each in parts}) > 1), shortest - start)
    return [".".join(each[start : len(each) - end]) for each in parts]


def _tools(layers: Sequence[Mapping], concepts: Sequence[Mapping]) -> str:
    def options(entries: Iterable[tuple[str, str]]) -> str:
        return "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in entries)

    short = short_names([layer["layer"] for layer in layers]) if len(layers) > 1 else [layers[0]["layer"]]
    names = [(layer["layer"], f"{name} ({layer['units']})") for layer, name in zip(layers, short, strict=True)]
    sorts = [("iou", "IoU"), ("unit", "number"), ("concept", "concept"), ("q", "certainty")]
    kinds = dict.fromkeys(concept["category"] for concept in concepts)
    categories = [("", "all"), *((kind, kind) for kind in kinds)]
    known = sorted((concept["name"], str(number)) for number, concept in enumerate(concepts))
    return (
        '<div class="tools">'
        f'<label>Layer<select id="layer">{options(names)}</select></label>'
        f'<label>Sort by<select id="sort">{options(sorts)}</select></label>'
        f'<label>IoU with<select id="concept"><option value="-1">the best concept</option>'
        f"{options((number, name) for name, number in known)}</select></label>"
        f'<label>Category<select id="kind">{options(categories)}</select></label>'
        '<label>Find<input id="find" type="search" placeholder="tree, 17"></label>'
        '<label><input id="only" type="checkbox"> detectors only</label><span id="count" class="soft"></span></div>'
    )


def _layer(layer: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    categories = {concept["name"]: concept["category"] for concept in document["concepts"]}
    text = (
        f"{layer['detectors']} of {layer['units']} units detect one of {layer['concepts_detected']} concepts; "
        f"{layer['detectors_beyond_chance']} of them beyond chance."
    )
    chart = bars(layer["by_concept"], categories, f"Units of {layer['layer']} by the concept that they detect")
    shown = chart if layer["by_concept"] else ""
    name = escape(layer["layer"])
    return f'<section class="of-layer" data-layer="{name}"><p>{text}</p><div class="scroll">{shown}</div></section>'


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
