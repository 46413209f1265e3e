"""`rewrite rotation`: whether the units of a layer detect more concepts than random directions do."""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from apps.commands.units import layers_of
from apps.estimates import foretell
from apps.labels import counted, labelled
from apps.models import load_model
from apps.sources import BUILT_IN, source_for
from dissect.charts import Point, curves
from dissect.units.counting import dissect
from dissect.units.dissection import UNITS, Dissection
from dissect.units.probe import GeneratorProbe, JoinedProbe, PictureProbe, Probe, shuffle, with_random_weights
from dissect.units.rotation import ALPHAS, RotatedProbe, turned
from dissect.units.summary import as_json
from rewrite import Classifier, Generator
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
    drawn = {"truncation": options.truncation, "label": options.label}
    model = load_model(options.model, options.architecture, options.device, **drawn)
    probes = of_pictures(model, options) if isinstance(model, Classifier) else of_images(model, options)
    with goes_on_from(options.out / STATE), stages("levels", UNITS):
        found = dissect(
            JoinedProbe(RotatedProbe(probes.known, list(probes.known.units), ALPHAS, options.seed), probes.beside),
            probes.samples,
            level_samples=probes.levels,
            state=options.out / STATE,
            progress=True,
        )
    document = {
        "images": probes.samples,
        "layers": [layer_of(layer, found, options.iou) for layer in probes.known.units],
        "identity": dict(next(iter(found.values())).identity),
    }
    contents = {
        "rotation.json": as_json(document),
        "rotation.csv": table(document),
        "rotation.html": page(document, options.model),
    }
    write_together(options.out, {name: text.encode() for name, text in contents.items()})
    return {"out": str(options.out), **document}


class Probes(NamedTuple):
    """What is turned, and what it is held against.

    Attributes:
        known: The network as it is.
        beside: The views of one with random weights.
        samples, levels: How many images are counted, and how many others the levels are taken from.
    """

    known: Probe
    beside: Mapping[str, tuple[Probe, str]]
    samples: int
    levels: int


def of_images(generator: Generator, options: Namespace) -> Probes:
    """Layers of a generator on what it draws."""
    if options.pictures is not None:
        raise ValueError(f"--pictures is for a classifier, and {options.model} is a generator")
    source = source_for(options.segmenter or BUILT_IN, generator)
    probe = GeneratorProbe(generator, layers_of(generator, options.layers), source)
    unlearnt = GeneratorProbe(with_random_weights(generator, options.seed), probe.layers, source)
    foretell(generator, 2 * (options.level_samples + options.samples))
    return Probes(probe, _beside(unlearnt, probe.layers), options.samples, options.level_samples)


def of_pictures(classifier: Classifier, options: Namespace) -> Probes:
    """Layers of a classifier on pictures with labels, of which there may be fewer than are asked for."""
    for named, given, default in (("truncation", options.truncation, 1.0), ("class", options.label, 0)):
        if given != default:
            raise ValueError(f"--{named} is for a generator, and {options.model} is a classifier")
    pictures = labelled(options.pictures, options.segmenter, classifier, options.samples)
    probe = PictureProbe(classifier.module, layers_of(classifier, options.layers), pictures, classifier.prepare)
    module = deepcopy(classifier.module)
    shuffle(module, options.seed)
    unlearnt = PictureProbe(module, probe.layers, pictures, classifier.prepare)
    samples, levels = counted(pictures, options.samples)
    return Probes(probe, _beside(unlearnt, probe.layers), samples, min(levels, options.level_samples))


def _beside(unlearnt: Probe, layers: Sequence[str]) -> dict[str, tuple[Probe, str]]:
    return {f"{layer} {NULL}": (unlearnt, layer) for layer in layers}


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
