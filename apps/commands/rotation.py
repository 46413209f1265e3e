"""`rewrite rotation`: whether the units of a layer detect more concepts than random directions do."""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from apps.commands.units import layers_of
from apps.estimates import foretell
from apps.sources import source_for
from dissect.charts import Point, curves
from dissect.units.counting import dissect
from dissect.units.dissection import UNITS, Dissection
from dissect.units.probe import GeneratorProbe, JoinedProbe, with_random_weights
from dissect.units.rotation import ALPHAS, RotatedProbe, turned
from dissect.units.summary import as_json
from rewrite import load_generator
from rewrite.interrupts import goes_on_from
from rewrite.progress import stages
from rewrite.reports.rendering import percent, render
from rewrite.storage.files import write_together

TEMPLATE = Path(__file__).parent / "templates" / "rotation.html"
STATE = "rotation.safetensors"
NULL = "random weights"
# Bounds on the IoU beside `--iou`.
STRICTER = (0.1, 0.2)
COLUMNS = (
    "units",
    "detectors",
    "detectors_beyond_chance",
    "concepts_detected",
    "concepts_beyond_chance",
    "mean_best_iou",
    "mean_chance",
)


def run(options: Namespace) -> dict:
    """Count detectors for each share of the rotation, and for random weights."""
    generator = load_generator(options.model, truncation=options.truncation, label=options.label, device=options.device)
    source = source_for(options.segmenter, generator)
    probe = GeneratorProbe(generator, layers_of(generator, options.layers), source)
    unlearnt = GeneratorProbe(with_random_weights(generator, options.seed), probe.layers, source)
    beside = {f"{layer} {NULL}": (unlearnt, layer) for layer in probe.layers}
    foretell(generator, 2 * (options.level_samples + options.samples))
    with goes_on_from(options.out / STATE), stages("levels", UNITS):
        found = dissect(
            JoinedProbe(RotatedProbe(probe, probe.layers, ALPHAS, options.seed), beside),
            options.samples,
            level_samples=options.level_samples,
            state=options.out / STATE,
            progress=True,
        )
    document = {
        "images": options.samples,
        "layers": [layer_of(layer, found, options.iou) for layer in probe.layers],
        "identity": dict(next(iter(found.values())).identity),
    }
    contents = {
        "rotation.json": as_json(document),
        "rotation.csv": table(document),
        "rotation.html": page(document, options.model),
    }
    write_together(options.out, {name: text.encode() for name, text in contents.items()})
    return {"out": str(options.out), **document}


def tell(result: dict) -> str:
    """The number of detectors for each share of the rotation."""
    lines = [f"units (concepts) that detect, as units are turned from their axes, by {ALPHAS[0]:g} to {ALPHAS[-1]:g}:"]
    for layer in result["layers"]:
        for i, bound in enumerate(layer["rotation"][0]["by_bound"]):
            steps = [step["by_bound"][i] for step in (*layer["rotation"], layer["random_weights"])]
            shown = [f"{step['detectors']} ({step['concepts']})" for step in steps]
            lines.append(
                f"{layer['layer']}, IoU > {bound['iou']:g}: {', '.join(shown[:-1])}; {NULL} {shown[-1]}; "
                f"lost {percent(layer['lost'][i]['detectors'], 0)} ({percent(layer['lost'][i]['concepts'], 0)})"
            )
    return "\n".join([*lines, f"page: {Path(result['out']) / 'rotation.html'}"])


def layer_of(layer: str, found: Mapping[str, Dissection], least: float) -> dict[str, Any]:
    """The curve of one layer, the level of random weights, and the loss at the full rotation."""
    steps = [{"alpha": alpha, **counts_of(found[turned(layer, alpha)], least)} for alpha in ALPHAS]
    lost = [
        {"iou": first["iou"], **{name: loss(first[name], last[name]) for name in ("detectors", "concepts")}}
        for first, last in zip(steps[0]["by_bound"], steps[-1]["by_bound"], strict=True)
    ]
    null = counts_of(found[f"{layer} {NULL}"], least)
    return {"layer": layer, "rotation": steps, "random_weights": null, "lost": lost}


def counts_of(one: Dissection, least: float) -> dict[str, Any]:
    """How many units detect, and how many concepts, for several bounds on the IoU.

    Where there are few concepts, nearly any direction agrees a little with one of them; only stricter bounds tell units
    from random directions.
    """
    scores = one.scores
    sure, found = scores.detects(least) & scores.beyond_chance(), scores.detectors(least)
    best = (np.arange(len(sure)), scores.best)
    bounds = sorted({least, *STRICTER})
    return {
        "units": len(sure),
        "detectors": int(scores.detects(least).sum()),
        "detectors_beyond_chance": int(sure.sum()),
        "concepts_detected": len(found),
        "concepts_beyond_chance": len(np.unique(scores.best[sure])),
        "mean_best_iou": float(scores.iou[best].mean()),
        "mean_chance": float(scores.chance[best].mean()),
        "by_concept": found,
        "by_bound": [
            {"iou": bound, "detectors": int(scores.detects(bound).sum()), "concepts": len(scores.detectors(bound))}
            for bound in bounds
        ],
    }


def loss(first: int, last: int) -> float | None:
    """The share that is lost; None if there was nothing to lose."""
    return 1 - last / first if first else None


def table(document: Mapping[str, Any]) -> str:
    """The steps as CSV; random weights have no share."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("layer", "alpha", *COLUMNS))
    for layer in document["layers"]:
        for step in (*layer["rotation"], {"alpha": NULL, **layer["random_weights"]}):
            writer.writerow((layer["layer"], step["alpha"], *(step[column] for column in COLUMNS)))
    return buffer.getvalue()


def lines_of(layer: Mapping[str, Any], column: str) -> dict[str, list[Point]]:
    """A curve for each bound on the IoU, and one for random weights."""
    lines = {
        f"IoU > {bound['iou']:g}": [Point(step["alpha"], step["by_bound"][i][column]) for step in layer["rotation"]]
        for i, bound in enumerate(layer["rotation"][0]["by_bound"])
    }
    null = layer["random_weights"]["by_bound"][0]
    return lines | {f"{NULL}, IoU > {null['iou']:g}": [Point(alpha, null[column]) for alpha in (0.0, 1.0)]}


def agreement_of(layer: Mapping[str, Any]) -> dict[str, list[Point]]:
    """The agreement of units with their best concept, and the agreement by chance."""
    names = {"mean_best_iou": "units", "mean_chance": "by chance"}
    lines = {text: [Point(step["alpha"], step[name]) for step in layer["rotation"]] for name, text in names.items()}
    null = layer["random_weights"]["mean_best_iou"]
    return lines | {NULL: [Point(alpha, null) for alpha in (0.0, 1.0)]}


def page(document: Mapping[str, Any], model: str) -> str:
    """The curves as HTML."""
    charts = {layer["layer"]: charts_of(layer) for layer in document["layers"]}
    return render(TEMPLATE, document=document, model=model, charts=charts)


def charts_of(layer: Mapping[str, Any]) -> list[str]:
    """The curves of one layer."""
    across = "share of a random rotation"
    return [
        curves(lines_of(layer, "concepts"), "concepts detected", across, "concepts detected"),
        curves(lines_of(layer, "detectors"), "units that detect", across, "units that detect"),
        curves(agreement_of(layer), "mean agreement with the best concept", across, "mean IoU"),
    ]
