"""The files of `rewrite artifacts`: numbers, tables, the page, pictures, and patches."""

import csv
import io
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from apps.features import features_for
from apps.references import FIRST_SCENE, SCENES, pictures_for
from dissect.quality.artifact_page import artifact_page
from dissect.quality.artifacts import Artifacts, Outcome, feature_table, typical
from dissect.quality.features import FeatureSpace
from dissect.quality.frechet import Moments
from dissect.quality.table import Table
from dissect.sources.pictures import DrawnPictures, Pictures
from dissect.units.summary import as_json
from rewrite import Generator, Patch
from rewrite.checkpoints.loading import BUILT_IN
from rewrite.progress import in_stage
from rewrite.reports.pictures import Pair, before_after, png, to_pil
from rewrite.storage.files import write_together
from rewrite.storage.scratch import scratch

SEEDS, PATCH = "seeds", "patch.safetensors"
TOP_SHOWN, PAIRS_SHOWN, RANKED_SHOWN = 6, 16, 12


def check(options: Namespace, generator: Generator) -> None:
    """Refuse numbers out of range before any work is done.

    Raises:
        LookupError: There is no such layer.
        ValueError: A number is out of range.
    """
    generator.layer(options.layer)
    for name, least in (("samples", 20), ("choose", 2), ("test", 2), ("good", 4), ("random", 0), ("most", 1)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} is {least} or more, got {getattr(options, name)}")
    if options.choose > options.samples:
        raise ValueError(f"--choose takes from the {options.samples} images looked at, got {options.choose}")


def reference_named(options: Namespace) -> str:
    """What images are held against: what the user named, or scenes for the models of their world."""
    return options.reference or (SCENES if options.model in BUILT_IN else SEEDS)


def reference_features(named: str, generator: Generator, space: FeatureSpace, options: Namespace) -> np.ndarray:
    """The features of the reference images."""
    shown: Pictures = (
        DrawnPictures(generator, range(FIRST_SCENE, FIRST_SCENE + options.good))
        if named == SEEDS
        else pictures_for(named, generator, options.good)
    )
    numbers = shown.numbers[: options.good]
    table = feature_table(shown, numbers, space, state=options.out / "reference.safetensors", progress=True)
    return typical(table["features"]) if named == SEEDS else table["features"]


def looked_at(options: Namespace, generator: Generator) -> tuple[Artifacts, Table, np.ndarray]:
    """A layer against good images, what its units do in some images, and the features of the good ones."""
    space = features_for(options.features, options.weights, options.model, generator)
    good = reference_features(reference_named(options), generator, space, options)
    artifacts = Artifacts(generator, options.layer, space, Moments.of(good))
    seen = artifacts.observe(range(options.samples), state=options.out / "seen.safetensors", progress=True)
    return artifacts, seen, good


def asked_of(options: Namespace, artifacts: Artifacts, good: np.ndarray) -> dict[str, Any]:
    """What a document says of the question: the model, the reference, and how many images."""
    return {
        **artifacts.identity,
        "model": options.model,
        "fingerprint": artifacts.generator.fingerprint,
        "reference": reference_named(options),
        "samples": options.samples,
        "chosen_on": options.choose,
        "tested_on": options.test,
        "floor": floor_of(good),
    }


def floor_of(good: np.ndarray) -> float:
    """The distance between two halves of the reference: the least that a generator can reach."""
    return Moments.of(good[::2]).distance(Moments.of(good[1::2]))


def described(outcome: Outcome) -> dict[str, Any]:
    """An outcome as a JSON document."""
    return {
        "units": list(outcome.units),
        "distance": outcome.distance.document(),
        "fall": outcome.fall.document(),
        "better": outcome.better,
    }


def ranking_of(distances: np.ndarray, seen: Table, units: Sequence[int]) -> list[dict[str, Any]]:
    """All units, ordered by the distance of their top images from the reference, the farthest first."""
    tops = np.argsort(-seen["peaks"], axis=0, kind="stable")[:TOP_SHOWN]
    return [
        {
            "unit": unit,
            "distance": float(distances[unit]),
            "taken": unit in units,
            "top_images": [int(seen.numbers[place]) for place in tops[:, unit]],
        }
        for unit in np.argsort(-distances, kind="stable").tolist()
    ]


def write(
    generator: Generator,
    document: Mapping[str, Any],
    pairs: Sequence[Pair],
    patches: Mapping[str, Patch],
    out: Path,
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Write all files.

    Args:
        generator: The generator, which draws the top images of units.
        document: What was found.
        pairs: Images before and after.
        patches: Patches by the names of their files.
        out: The folder.
        more: Contents of further files by name.
    """
    contents = {
        "artifacts.json": as_json(document).encode(),
        "artifacts.csv": table_of(document["ranking"]).encode(),
        "artifacts.html": artifact_page(document, pairs, top_pictures(generator, document)).encode(),
        **(more or {}),
    }
    if pairs:
        strip = before_after([each.before for each in pairs], [each.after for each in pairs], columns=8)
        contents["before-after.png"] = png(strip)
    with scratch() as made:
        for name, patch in patches.items():
            patch.save(made / name)
            contents[name] = (made / name).read_bytes()
    write_together(out, contents)


def changed_pairs(tested: Table, name: str, draw: Callable[[Sequence[int]], tuple[Tensor, Tensor]]) -> list[Pair]:
    """The test images that change most, before and after.

    Args:
        tested: Their features, in the column `before` and in another one.
        name: The other column.
        draw: Gives the images of some seeds before and after.
    """
    moved = np.square(tested[name] - tested["before"]).sum(axis=1)
    seeds = [int(tested.numbers[place]) for place in np.argsort(-moved, kind="stable")[:PAIRS_SHOWN]]
    before, after = draw(seeds)
    return [Pair(str(seed), *both) for seed, *both in zip(seeds, to_pil(before), to_pil(after), strict=True)]


def top_pictures(generator: Generator, document: Mapping[str, Any]) -> dict[int, list]:
    """The top images of the chosen units, and of those ranked first."""
    shown = [each for i, each in enumerate(document["ranking"]) if each["taken"] or i < RANKED_SHOWN]
    return {each["unit"]: to_pil(generator.sample(each["top_images"])) for each in in_stage(shown, "pictures", "unit")}


def table_of(ranking: Sequence[Mapping[str, Any]]) -> str:
    """The ranking as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("rank", "unit", "distance_of_top_images", "taken", "top_images"))
    for rank, each in enumerate(ranking, start=1):
        tops = " ".join(map(str, each["top_images"]))
        writer.writerow((rank, each["unit"], f"{each['distance']:.6g}", int(each["taken"]), tops))
    return buffer.getvalue()


def spoken(interval: Mapping[str, float]) -> str:
    """A number and its interval as text."""
    return f"{interval['value']:.4f} ({interval['low']:.4f} to {interval['high']:.4f})"
