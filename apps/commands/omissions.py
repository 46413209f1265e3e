"""`rewrite omissions`: the concepts that a model draws too rarely or too often, compared with its training images."""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from apps.estimates import foretell_times
from apps.references import SCENES, pictures_for
from apps.sources import source_for
from dissect.quality.features import SegmenterFeatures
from dissect.quality.inversion import Inversion, default_layer, invert
from dissect.quality.omission_page import omission_page
from dissect.quality.omissions import LESS, MORE, OMITS, Comparison, Drawn, area_table, compare
from dissect.quality.table import Table
from dissect.segmenter import load_segmenter
from dissect.sources.pictures import DrawnPictures, Pictures
from dissect.units.summary import as_json
from rewrite import load_generator
from rewrite.generators.classes import marked
from rewrite.interrupts import goes_on_from
from rewrite.progress import stages
from rewrite.reports.concepts import ConceptSource
from rewrite.reports.pictures import png, strips, to_pil
from rewrite.storage.files import write_together

SHOWN_CONCEPTS, SHOWN_IMAGES = 4, 6
# Images whose time is taken.
FEW = 8


def run(options: Namespace) -> dict:
    """Compare, invert the training images asked for, and write what was found; or go on where a run was ended."""
    states = [options.out / f"{name}.safetensors" for name in ("training", "generated")]
    with goes_on_from(*states), stages("label training", "label generated", "invert"):
        return found_by(options)


def found_by(options: Namespace) -> dict:
    """See `run`."""
    for name, least in (("samples", 2), ("invert", 0), ("steps", 1)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} is {least} or more, got {getattr(options, name)}")
    generator = load_generator(options.model, truncation=options.truncation, label=options.label, device=options.device)
    layer = generator.layer(options.layer).name if options.layer else default_layer(generator)
    source = source_for(options.segmenter, generator)
    training = pictures_for(options.training, generator, 2 * options.samples)
    halves = training.numbers[: min(2 * options.samples, len(training.numbers))]
    drawn = DrawnPictures(generator, range(options.first_seed, options.first_seed + max(2, len(halves) // 2)))
    foretell_comparison(drawn, source, len(halves) + len(drawn.numbers) + 3 * options.invert * options.steps)
    tables = {
        name: area_table(
            pictures, numbers, source, stage=f"label {name}", state=options.out / f"{name}.safetensors", progress=True
        )
        for name, pictures, numbers in (("training", training, halves), ("generated", drawn, drawn.numbers))
    }
    found = compare(tables["training"], tables["generated"], source.concepts)
    document = {
        "model": options.model,
        "fingerprint": generator.fingerprint,
        "truncation": generator.truncation,
        **marked(generator.label),
        "training": SCENES if options.training == SCENES else training.identity,
        "source": source.identity,
        "images": {name: len(table) for name, table in tables.items()},
        "distance": found.distance.document(),
        "floor": found.floor.document(),
        "concepts": [described(each) for each in found.concepts],
    }
    numbers = to_invert(tables["training"], found, options.invert)
    inverted = None
    if numbers:
        images, space = training.images(numbers), SegmenterFeatures(load_segmenter().to(generator.device))
        inverted = invert(generator, images, space, layer, steps=options.steps, progress=True)
        document["inversion"] = inversion_of(inverted, numbers, source)
    write(document, found, {"training": training, "generated": drawn}, tables, inverted, options.out)
    return {"out": str(options.out), **document}


def foretell_comparison(drawn: DrawnPictures, source: ConceptSource, images: int) -> None:
    """Say about how long it takes, from the time that it takes to draw and name a few images."""
    first = drawn.numbers[:FEW]
    told = f"to draw and name {images} images"
    foretell_times(lambda: source.label(drawn.images(first), first), images / len(first), told)


def tell(result: dict) -> str:
    """The distance, and the concepts drawn too rarely or too often."""
    distance, floor = result["distance"], result["floor"]
    lines = [
        f"Fréchet segmentation distance {distance['value']:.2f} ({distance['low']:.2f} to {distance['high']:.2f}), "
        f"between two halves of the training images {floor['value']:.2f}"
    ]
    for verdict in (OMITS, LESS, MORE):
        named = [
            f"{each['concept']} {each['training']['value']:.2f} → {each['generated']['value']:.2f} %"
            for each in result["concepts"]
            if each["verdict"] == verdict
        ]
        if named:
            lines.append(f"{verdict}: {', '.join(named)}")
    return "\n".join([*lines, f"page: {Path(result['out']) / 'omissions.html'}"])


def described(each: Drawn) -> dict[str, Any]:
    """One concept as a JSON document."""
    return {
        "concept": each.concept,
        "training": each.training.document(),
        "generated": each.generated.document(),
        "images": {"training": each.images[0], "generated": each.images[1]},
        "ratio": None if each.ratio is None else each.ratio.document(),
        "q": each.q,
        "verdict": each.verdict,
    }


def to_invert(training: Table, found: Comparison, count: int) -> list[int]:
    """The training images with most of the concept that is drawn too rarely; the first ones if there is none."""
    missing = [each.concept for each in (*found.of(OMITS), *found.of(LESS))]
    names = [each.concept for each in found.concepts]
    areas = training["areas"][:, [names.index(missing[0])]] if missing else np.zeros((len(training), 1))
    order = np.argsort(-areas[:, 0], kind="stable")[:count]
    return training.numbers[torch.from_numpy(order)].tolist()


def inversion_of(inverted: Inversion, numbers: Sequence[int], source: ConceptSource) -> dict[str, Any]:
    """The losses of the inverted images, and the area of each concept before and after."""
    shares = []
    for images in (inverted.images, inverted.drawn):
        labels = source.label(images, numbers)
        counts = [
            (labels == concept).float().mean().item() * labels.shape[1] for concept in range(len(source.concepts))
        ]
        shares.append([100 * count for count in counts])
    return {
        "layer": inverted.layer,
        "numbers": list(numbers),
        "loss": inverted.loss.tolist(),
        "first_loss": inverted.first_loss.tolist(),
        "areas": {
            name: {"given": given, "drawn": drawn}
            for name, given, drawn in zip(source.concepts.names, *shares, strict=True)
        },
    }


def write(
    document: Mapping[str, Any],
    found: Comparison,
    sides: Mapping[str, Pictures],
    tables: Mapping[str, Table],
    inverted: Inversion | None,
    out: Path,
) -> None:
    """Write all files."""
    shown = {
        each.concept: {name: most_of(each.concept, found, sides[name], tables[name]) for name in sides}
        for verdicts in ((OMITS, LESS), (MORE,))
        for each in found.of(*verdicts)[:SHOWN_CONCEPTS]
    }
    contents = {"omissions.json": as_json(document).encode(), "omissions.csv": table_of(document["concepts"]).encode()}
    strip = None
    if inverted is not None:
        rows = {"given": inverted.images, "start": inverted.begun, "drawn": inverted.drawn}
        strip = strips({name: to_pil(images) for name, images in rows.items()})
        contents["inversion.png"] = png(strip)
    contents["omissions.html"] = omission_page(document, shown, strip).encode()
    write_together(out, contents)


def most_of(concept: str, found: Comparison, pictures: Pictures, table: Table) -> list[Image.Image]:
    """The pictures with the largest area of a concept."""
    column = [each.concept for each in found.concepts].index(concept)
    order = np.argsort(-table["areas"][:, column], kind="stable")[:SHOWN_IMAGES]
    return to_pil(pictures.images(table.numbers[torch.from_numpy(order)].tolist()))


def table_of(concepts: Sequence[Mapping[str, Any]]) -> str:
    """The concepts as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    sides = ("training", "generated")
    heads = [f"{side}_{part}" for side in sides for part in ("percent", "low", "high", "images")]
    writer.writerow(("concept", *heads, "ratio", "ratio_low", "ratio_high", "q", "verdict"))
    for each in concepts:
        numbers = [
            f"{number:.6g}"
            for side in sides
            for number in (*(each[side][part] for part in ("value", "low", "high")), each["images"][side])
        ]
        ratio = each["ratio"] or {}
        parts = ["" if ratio.get(part) is None else f"{ratio[part]:.6g}" for part in ("value", "low", "high")]
        writer.writerow((each["concept"], *numbers, *parts, f"{each['q']:.6g}", each["verdict"]))
    return buffer.getvalue()
