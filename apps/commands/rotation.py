"""`rewrite rotation`: are a layer's units special, or does any direction of it detect as much?"""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from apps.sources import source_for
from dissect.charts import Point, curves
from dissect.dissection import Dissection, dissect
from dissect.probe import GeneratorProbe, JoinedProbe, with_random_weights
from dissect.rotation import ALPHAS, RotatedProbe
from dissect.unit_page import as_json
from rewrite import load_generator
from rewrite.files import write_together
from rewrite.page import whole_page

STATE = "rotation.safetensors"
NULL = "random weights"


def run(options: Namespace) -> dict:
    """Count detectors for each share of the rotation, and for random weights."""
    generator = load_generator(options.model, truncation=options.truncation)
    source = source_for(options.segmenter, generator)
    probe = GeneratorProbe(generator, [options.layer], source)
    unlearnt = GeneratorProbe(with_random_weights(generator, options.seed), [options.layer], source)
    turned = RotatedProbe(probe, options.layer, ALPHAS, options.seed)
    found = dissect(
        JoinedProbe(turned, {NULL: (unlearnt, options.layer)}),
        options.samples,
        level_samples=options.level_samples,
        state=options.out / STATE,
        progress=True,
    )
    document = {
        "layer": options.layer,
        "images": options.samples,
        "rotation": [{"alpha": alpha, **counts_of(found[f"{alpha:g}"], options.iou)} for alpha in ALPHAS],
        "random_weights": counts_of(found[NULL], options.iou),
        "identity": dict(found[NULL].identity),
    }
    contents = {
        "rotation.json": as_json(document),
        "rotation.csv": table(document),
        "rotation.html": page(document, options.model),
    }
    write_together(options.out, {name: text.encode() for name, text in contents.items()})
    return {"out": str(options.out), **document}


def tell(result: dict) -> str:
    """Say how many are left."""
    first, last = (result["rotation"][place]["concepts_detected"] for place in (0, -1))
    lost, null = (1 - last / first if first else 0.0), result["random_weights"]["concepts_detected"]
    steps = ", ".join(f"{step['alpha']:g}: {step['concepts_detected']}" for step in result["rotation"])
    return (
        f"concepts detected at {result['layer']} as its units are turned away: {steps}\n"
        f"lost at a full rotation: {100 * lost:.0f} %; with random weights {null}\n"
        f"page: {Path(result['out']) / 'rotation.html'}"
    )


def counts_of(one: Dissection, least: float) -> dict[str, Any]:
    """How many units detect, and how many concepts."""
    scores = one.scores
    sure, found = scores.detects(least) & scores.beyond_chance(), scores.detectors(least)
    return {
        "units": len(sure),
        "detectors": int(scores.detects(least).sum()),
        "detectors_beyond_chance": int(sure.sum()),
        "concepts_detected": len(found),
        "by_concept": found,
    }


def table(document: Mapping[str, Any]) -> str:
    """The steps as CSV; random weights have no share."""
    buffer = io.StringIO()
    columns = ("units", "detectors", "detectors_beyond_chance", "concepts_detected")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("alpha", *columns))
    for step in (*document["rotation"], {"alpha": NULL, **document["random_weights"]}):
        writer.writerow((step["alpha"], *(step[column] for column in columns)))
    return buffer.getvalue()


def page(document: Mapping[str, Any], model: str) -> str:
    """The curves as HTML."""
    names = {"concepts_detected": "concepts detected", "detectors": "units that detect"}
    null = document["random_weights"]
    charts = "".join(
        "<div>"
        + curves(
            {
                "turned": [Point(step["alpha"], step[column]) for step in document["rotation"]],
                NULL: [Point(alpha, null[column]) for alpha in (0.0, 1.0)],
            },
            f"{text} at {document['layer']}",
            "share of a random rotation",
            text,
        )
        + "</div>"
        for column, text in names.items()
    )
    title = f"Units of {escape(model)}, {escape(document['layer'])}, turned away from their axes"
    rows = "".join(
        f"<tr><td>{step['alpha']:g}</td><td>{step['detectors']}</td><td>{step['concepts_detected']}</td>"
        f"<td>{escape(', '.join(f'{name} {count}' for name, count in step['by_concept'].items()))}</td></tr>"
        for step in document["rotation"]
    )
    text = (
        f"{document['images']} images. The layer holds the same information at every point of the curve; only the axes "
        "that are called units differ."
    )
    body = (
        f'<h1>{title}</h1><p class="soft">{text}</p><div class="scroll">{charts}</div><div class="scroll"><table>'
        f"<tr><th>share</th><th>units that detect</th><th>concepts</th><th>which</th></tr>{rows}</table></div>"
    )
    return whole_page(title, body)
