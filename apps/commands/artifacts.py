"""`rewrite artifacts`: the units of a layer that draw artifacts, and how much better images are without them."""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apps.estimates import foretell
from apps.features import features_for
from apps.references import FIRST_SCENE, SCENES, pictures_for
from dissect.causes.ablation import ablation_patch
from dissect.causes.intervention import Intervention, Prefix
from dissect.quality.artifact_page import artifact_page
from dissect.quality.artifacts import (
    BY_IMAGES,
    FIRST_TEST_SEED,
    Artifacts,
    Outcome,
    Step,
    feature_table,
    outcomes,
    random_sets,
    typical,
)
from dissect.quality.features import FeatureSpace
from dissect.quality.frechet import Moments
from dissect.quality.table import Table
from dissect.sources.pictures import DrawnPictures, Pictures
from dissect.units.summary import as_json
from rewrite import Generator, load_generator
from rewrite.interrupts import goes_on_from
from rewrite.progress import in_stage, stages
from rewrite.reports.pictures import Pair, before_after, png, to_pil
from rewrite.storage.files import write_together
from rewrite.storage.quoting import quoted
from rewrite.storage.scratch import scratch

SEEDS, PATCH = "seeds", "patch.safetensors"
BUILT_IN = "towers"
TOP_SHOWN, PAIRS_SHOWN, RANKED_SHOWN = 6, 16, 12


def run(options: Namespace) -> dict:
    """Rank, choose, test, and write what was found; or go on where a run was ended."""
    states = [options.out / f"{name}.safetensors" for name in ("reference", "seen", "steps", "tested")]
    with goes_on_from(*states), stages("reference", "look", "choose", "test", "pictures"):
        return found_by(options)


def found_by(options: Namespace) -> dict:
    """See `run`."""
    generator = load_generator(options.model, truncation=options.truncation, label=options.label, device=options.device)
    check(options, generator)
    foretell(generator, options.good + options.samples + options.test * (2 + options.random))
    space = features_for(options.features, options.weights, options.model, generator)
    named = options.reference or (SCENES if options.model == BUILT_IN else SEEDS)
    good = reference_features(named, generator, space, options)
    artifacts = Artifacts(generator, options.layer, space, Moments.of(good))
    seen = artifacts.observe(range(options.samples), state=options.out / "seen.safetensors", progress=True)
    distances = artifacts.distances(seen)
    steps = chosen_steps(artifacts, distances, options)
    units = steps[-1].units
    tested, sets = tested_sets(artifacts, units, options)
    before, found = outcomes(tested, sets, good)
    document = {
        **artifacts.identity,
        "model": options.model,
        "fingerprint": generator.fingerprint,
        "reference": named,
        "samples": options.samples,
        "chosen_on": options.choose,
        "tested_on": options.test,
        "units": list(units),
        "steps": [{"units": list(step.units), "distance": step.distance} for step in steps],
        "floor": floor_of(good),
        "before": before.document(),
        **{name: described(outcome) for name, outcome in found.items() if name == "after"},
        "random": [described(outcome) for name, outcome in found.items() if name != "after"],
        "ranking": ranking_of(distances, seen, units),
    }
    write(artifacts, document, tested, options.out)
    return {"out": str(options.out), **{name: value for name, value in document.items() if name != "ranking"}}


def tell(result: dict) -> str:
    """The chosen units, and the distances with and without them."""
    lines = []
    if not result["units"]:
        lines.append("no unit was found whose images come closer to the reference without it")
    else:
        lines.append(f"units {', '.join(map(str, result['units']))} of {result['layer']}")
    lines.append(
        f"distance on {result['tested_on']} unseen images: {spoken(result['before'])}, floor {result['floor']:.4f}"
    )
    if "after" in result:
        lines.append(
            f"without them: {spoken(result['after']['distance'])}, a fall of {spoken(result['after']['fall'])}"
        )
    for each in result["random"]:
        lines.append(f"without {len(each['units'])} random units: {spoken(each['distance'])}")
    if result["units"]:
        lines.append(f"patch: {Path(result['out']) / PATCH}")
    return "\n".join([*lines, f"page: {Path(result['out']) / 'artifacts.html'}"])


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


def chosen_steps(artifacts: Artifacts, distances: np.ndarray, options: Namespace) -> list[Step]:
    """The steps of the choice; with `--units`, only the first and the last."""
    seeds = range(options.choose)
    if options.units is None:
        ranking = np.argsort(-distances, kind="stable").tolist() if options.rank == BY_IMAGES else None
        state = options.out / "steps.safetensors"
        return artifacts.choose(seeds, ranking, most=options.most, state=state, progress=True)
    units = parse_units(options.units, artifacts.units)
    table = artifacts.without({"none": (), "off": units}, seeds, progress=True)
    return [Step((), artifacts.distance(table["none"])), Step(units, artifacts.distance(table["off"]))]


def parse_units(text: str, count: int) -> tuple[int, ...]:
    """Parse units from numbers separated by commas.

    Raises:
        ValueError: The text is something else, or names a unit twice or one that the layer has not.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"units are numbers such as 3,17, got {quoted(text)}")
    units = tuple(int(part) for part in parts)
    if max(units) >= count or len(set(units)) < len(units):
        raise ValueError(f"the layer has units 0 to {count - 1}, each named once, got {quoted(text)}")
    return units


def tested_sets(
    artifacts: Artifacts, units: Sequence[int], options: Namespace
) -> tuple[Table, dict[str, tuple[int, ...]]]:
    """The images of the test without any unit off, with the chosen ones, and with random ones."""
    sets: dict[str, tuple[int, ...]] = {"before": ()}
    if units:
        sets |= {"after": tuple(units), **random_sets(artifacts.units, units, options.random)}
    seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + options.test)
    return artifacts.without(sets, seeds, state=options.out / "tested.safetensors", progress=True), sets


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


def write(artifacts: Artifacts, document: Mapping[str, Any], tested: Table, out: Path) -> None:
    """Write all files."""
    pairs = changed_pairs(artifacts, document["units"], tested)
    contents = {
        "artifacts.json": as_json(document).encode(),
        "artifacts.csv": table_of(document["ranking"]).encode(),
        "artifacts.html": artifact_page(document, pairs, top_pictures(artifacts.generator, document)).encode(),
    }
    if pairs:
        strip = before_after([each.before for each in pairs], [each.after for each in pairs], columns=8)
        contents["before-after.png"] = png(strip)
    if document["units"]:
        patch = ablation_patch(artifacts.generator, artifacts.layer, document["units"], name="artifacts")
        with scratch() as made:
            patch.save(made / PATCH)
            contents[PATCH] = (made / PATCH).read_bytes()
    write_together(out, contents)


def changed_pairs(artifacts: Artifacts, units: Sequence[int], tested: Table) -> list[Pair]:
    """The test images that change most, before and after."""
    if not units:
        return []
    moved = np.square(tested["after"] - tested["before"]).sum(axis=1)
    seeds = [int(tested.numbers[place]) for place in np.argsort(-moved, kind="stable")[:PAIRS_SHOWN]]
    prefix = Prefix.of(artifacts.generator, artifacts.layer, seeds)
    drawn = to_pil(prefix.images()), to_pil(prefix.images(Intervention.off(units)))
    return [Pair(str(seed), *both) for seed, *both in zip(seeds, *drawn, strict=True)]


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
