"""`rewrite compare`: which concepts the units of several networks detect, by layer, side by side."""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from apps.commands.rotation import counts_of
from apps.labels import counted, labelled
from dissect.charts import Point, curves
from dissect.units.counting import dissect
from dissect.units.dissection import UNITS
from dissect.units.probe import PictureProbe
from dissect.units.summary import as_json
from rewrite import load_classifier
from rewrite.interrupts import goes_on_from
from rewrite.progress import stages
from rewrite.reports.rendering import render
from rewrite.storage.files import write_together

TEMPLATE = Path(__file__).parent / "templates" / "compare.html"
COLUMNS = ("units", "detectors", "concepts_detected", "mean_best_iou", "mean_chance")
CHARTS = {
    "detectors": "share of units that detect",
    "concepts_detected": "concepts detected",
    "mean_best_iou": "mean IoU",
}


def run(options: Namespace) -> dict:
    """Dissect each network on the same pictures."""
    named = list(dict.fromkeys(options.networks))
    if len(named) < 2:
        raise ValueError(f"networks are compared two or more at a time, got {len(named)}")
    networks = {name: load_classifier(name, device=options.device) for name in named}
    pictures = labelled(options.pictures, options.segmenter, next(iter(networks.values())), options.samples)
    probes = {
        name: PictureProbe(each.module, options.layers, pictures, each.prepare) for name, each in networks.items()
    }
    states = {name: options.out / f"compare-{number}.safetensors" for number, name in enumerate(named, start=1)}
    samples, levels = counted(pictures, options.samples)
    found = {}
    with goes_on_from(*states.values()), stages("levels", UNITS):
        for name, probe in probes.items():
            found[name] = dissect(probe, samples, level_samples=levels, state=states[name], progress=True)
    rows = [
        {"layer": layer, "network": name, **counts_of(found[name][layer], options.iou)}
        for layer in options.layers
        for name in named
    ]
    document = {
        "images": samples,
        "iou": options.iou,
        "pictures": pictures.identity,
        "networks": named,
        "layers": options.layers,
        "rows": rows,
    }
    contents = {"compare.json": as_json(document), "compare.csv": table(rows), "compare.html": page(document)}
    write_together(options.out, {name: text.encode() for name, text in contents.items()})
    return {"out": str(options.out), **document}


def tell(result: dict) -> str:
    """The detectors of each layer and network."""
    lines = []
    for row in result["rows"]:
        concepts = ", ".join(f"{name} {count}" for name, count in row["by_concept"].items())
        lines.append(
            f"{row['layer']}, {row['network']}: {row['detectors']} of {row['units']} units detect "
            f"{row['concepts_detected']} concepts{f' ({concepts})' if concepts else ''}; "
            f"mean IoU {row['mean_best_iou']:.3f}"
        )
    return "\n".join([*lines, f"page: {result['out']}/compare.html"])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("layer", "network", *COLUMNS))
    writer.writerows((row["layer"], row["network"], *(row[column] for column in COLUMNS)) for row in rows)
    return buffer.getvalue()


def page(document: Mapping[str, Any]) -> str:
    """The table and its charts as HTML."""
    concepts = list(dict.fromkeys(name for row in document["rows"] for name in row["by_concept"]))
    charts = [chart(document, column) for column in CHARTS]
    return render(TEMPLATE, document=document, concepts=concepts, charts=charts)


def chart(document: Mapping[str, Any], column: str) -> Markup:
    """A line for each network, over the layers in the order that they were named in."""
    lines: dict[str, list[Point]] = {name: [] for name in document["networks"]}
    for row in document["rows"]:
        place = document["layers"].index(row["layer"]) + 1
        value = row[column] / row["units"] if column == "detectors" else row[column]
        lines[row["network"]].append(Point(place, value))
    return curves(lines, CHARTS[column], "layers, in their order", CHARTS[column])
