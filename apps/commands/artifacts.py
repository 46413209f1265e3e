"""`rewrite artifacts`: the units of a layer that draw artifacts, and how much better images are without them."""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from apps.commands import repairs
from apps.commands.artifact_files import (
    PATCH,
    asked_of,
    changed_pairs,
    check,
    described,
    looked_at,
    ranking_of,
    spoken,
    write,
)
from apps.estimates import foretell
from dissect.causes.ablation import ablation_patch
from dissect.causes.intervention import Intervention, Prefix
from dissect.quality.artifacts import BY_IMAGES, FIRST_TEST_SEED, Artifacts, Step, outcomes, random_sets
from dissect.quality.table import Table
from rewrite import load_generator
from rewrite.interrupts import goes_on_from
from rewrite.progress import stages
from rewrite.storage.quoting import quoted


def run(options: Namespace) -> dict:
    """Rank, choose, test, and write what was found; or go on where a run was ended."""
    states = [options.out / f"{name}.safetensors" for name in ("reference", "seen", "steps", "tested")]
    with goes_on_from(*states), stages("reference", "look", "choose", "test", "pictures"):
        return repairs.found_by(options) if options.marks else found_by(options)


def found_by(options: Namespace) -> dict:
    """See `run`."""
    generator = load_generator(options.model, truncation=options.truncation, label=options.label, device=options.device)
    check(options, generator)
    foretell(generator, options.good + options.samples + options.test * (2 + options.random))
    artifacts, seen, good = looked_at(options, generator)
    distances = artifacts.distances(seen)
    steps = chosen_steps(artifacts, distances, options)
    units = steps[-1].units
    tested, sets = tested_sets(artifacts, units, options)
    before, found = outcomes(tested, sets, good)
    document = {
        **asked_of(options, artifacts, good),
        "units": list(units),
        "steps": [{"units": list(step.units), "distance": step.distance} for step in steps],
        "before": before.document(),
        **{name: described(outcome) for name, outcome in found.items() if name == "after"},
        "random": [described(outcome) for name, outcome in found.items() if name != "after"],
        "ranking": ranking_of(distances, seen, units),
    }
    patches = {PATCH: ablation_patch(generator, options.layer, units, name="artifacts")} if units else {}
    pairs = changed_pairs(tested, "after", partial(drawn_without, artifacts, units)) if units else []
    write(generator, document, pairs, patches, options.out)
    return {"out": str(options.out), **{name: value for name, value in document.items() if name != "ranking"}}


def tell(result: dict) -> str:
    """The chosen units, and the distances with and without them."""
    if "offers" in result:
        return repairs.tell(result)
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


def drawn_without(artifacts: Artifacts, units: Sequence[int], seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Images as they are, and with units off."""
    prefix = Prefix.of(artifacts.generator, artifacts.layer, seeds)
    return prefix.images(), prefix.images(Intervention.off(units))
