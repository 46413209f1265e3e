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
from dissect.summary import as_json
from rewrite import load_generator
from rewrite.files import write_together
from rewrite.page import whole_page

STATE = "rotation.safetensors"
NULL = "random weights"
# Bounds on the IoU beside the one of the rule.
STRICTER = (0.1, 0.2)


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
    lines = [f"{result['layer']} as its units are turned away from their axes, from {ALPHAS[0]:g} to {ALPHAS[-1]:g}:"]
    for i, bound in enumerate(result["rotation"][0]["by_bound"]):
        steps = [step["by_bound"][i] for step in (*result["rotation"], result["random_weights"])]
        shown = [f"{step['detectors']} ({step['concepts']})" for step in steps]
        lines.append(f"IoU > {bound['iou']:g}: {', '.join(shown[:-1])}; {NULL} {shown[-1]} units (concepts)")
    return "\n".join([*lines, f"page: {Path(result['out']) / 'rotation.html'}"])


def counts_of(one: Dissection, least: float) -> dict[str, Any]:
    """How many units detect, and how many concepts; also where more agreement is asked for.

    In a world of few concepts nearly any direction agrees a little with one of them, and only stricter bounds tell the
    units apart from the rest.
    """
    scores = one.scores
    sure, found = scores.detects(least) & scores.beyond_chance(), scores.detectors(least)
    bounds = sorted({least, *STRICTER})
    return {
        "units": len(sure),
        "detectors": int(scores.detects(least).sum()),
        "detectors_beyond_chance": int(sure.sum()),
        "concepts_detected": len(found),
        "mean_best_iou": float(scores.iou.max(axis=1).mean()),
        "by_concept": found,
        "by_bound": [
            {"iou": bound, "detectors": int(scores.detects(bound).sum()), "concepts": len(scores.detectors(bound))}
            for bound in bounds
        ],
    }


def table(document: Mapping[str, Any]) -> str:
    """The steps as CSV; random weights have no share."""
    buffer = io.StringIO()
    columns = ("units", "detectors", "detectors_beyond_chance", "concepts_detected", "mean_best_iou")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("alpha", *columns))
    for step in (*document["rotation"], {"alpha": NULL, **document["random_weights"]}):
        writer.writerow((step["alpha"], *(step[column] for column in columns)))
    return buffer.getvalue()


def lines_of(document: Mapping[str, Any], column: str) -> dict[str, list[Point]]:
    """A curve for each bound on the IoU, and the level of random weights."""
    lines = {
        f"IoU > {bound['iou']:g}": [Point(step["alpha"], step["by_bound"][i][column]) for step in document["rotation"]]
        for i, bound in enumerate(document["rotation"][0]["by_bound"])
    }
    null = document["random_weights"]["by_bound"][0]
    return lines | {f"{NULL}, IoU > {null['iou']:g}": [Point(alpha, null[column]) for alpha in (0.0, 1.0)]}


def page(document: Mapping[str, Any], model: str) -> str:
    """The curves as HTML."""
    names = {"concepts": "concepts detected", "detectors": "units that detect"}
    charts = "".join(
        f"<div>{curves(lines_of(document, column), text, 'share of a random rotation', text)}</div>"
        for column, text in names.items()
    )
    title = f"Units of {escape(model)}, {escape(document['layer'])}, turned away from their axes"
    rows = "".join(
        f"<tr><td>{step['alpha']:g}</td><td>{step['detectors']}</td><td>{step['mean_best_iou']:.3f}</td>"
        f"<td>{escape(', '.join(f'{name} {count}' for name, count in step['by_concept'].items()))}</td></tr>"
        for step in document["rotation"]
    )
    text = (
        f"{document['images']} images. The layer holds the same information at every point of the curve; only the axes "
        "that are called units differ."
    )
    body = (
        f'<h1>{title}</h1><p class="soft">{text}</p><div class="scroll">{charts}</div><div class="scroll"><table>'
        f"<tr><th>share</th><th>units that detect</th><th>mean best IoU</th><th>which concepts</th></tr>{rows}"
        "</table></div>"
    )
    return whole_page(title, body, "th{white-space:nowrap}")
