"""`rewrite artifacts --marks`: what is marked in a few images goes, by units that are off or by a rule that erases."""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

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
from apps.memories import memory_of
from dissect.quality.artifacts import FIRST_TEST_SEED, Artifacts, Outcome, Step, outcomes, random_sets
from dissect.quality.marked_units import MarkedImages, MarkedUnit
from dissect.quality.repairs import (
    BEFORE,
    RULE,
    UNITS,
    Repair,
    best_first,
    erased,
    erasing_rule,
    features_with,
    without_units,
)
from dissect.quality.table import Table
from rewrite import Generator, Patch, load_generator
from rewrite.reports.interval import Interval
from rewrite.rules.marks import Marks

SAID = {UNITS: "units off", RULE: "a rule that erases"}
FILES = {UNITS: "units-off.safetensors", RULE: "erased.safetensors"}
RULE_FILE = "erased.json"


def found_by(options: Namespace) -> dict:
    """Propose units by the marks, solve the rule, compare both on images left out, test, and write."""
    marks = Marks.load(options.marks)
    generator = load_generator(options.model, truncation=marks.truncation, label=marks.label, device=options.device)
    marks.check(generator)
    check(options, generator)
    foretell(generator, options.good + options.samples + options.choose + options.test * (3 + options.random))
    artifacts, seen, good = looked_at(options, generator)
    proposed = MarkedImages(generator, options.layer, marks.regions).proposed()
    steps = chosen_steps(artifacts, proposed, options)
    # Nothing was looked at or chosen on the images that follow.
    left_out = range(options.samples, options.samples + options.choose)
    offers = best_first(artifacts, repairs_for(artifacts, marks, steps), left_out)
    tested, outcome_of, before = tested_offers(artifacts, [each for each, _ in offers], good, options)
    document = {
        **asked_of(options, artifacts, good),
        "units": list(steps[-1].units),
        "steps": [{"units": list(step.units), "distance": step.distance} for step in steps],
        "before": before.document(),
        "offers": [{"kind": each.kind, "left_out": fall, **described(outcome_of[each.kind])} for each, fall in offers],
        **({"after": described(outcome_of[offers[0][0].kind])} if offers else {}),
        "random": [described(outcome) for name, outcome in outcome_of.items() if name.startswith("random")],
        "marks": {"images": len(marks.images), "regions": len(marks.regions)},
        "proposed": [{**asdict(each), "taken": each.unit in steps[-1].units} for each in proposed],
        "ranking": ranking_of(artifacts.distances(seen), seen, steps[-1].units),
    }
    write_offers(generator, document, [each for each, _ in offers], tested, options.out)
    return {"out": str(options.out), **{name: value for name, value in document.items() if name != "ranking"}}


def chosen_steps(artifacts: Artifacts, proposed: Sequence[MarkedUnit], options: Namespace) -> list[Step]:
    """The proposed units that bring images nearer to the reference, one by one."""
    among, state = [each.unit for each in proposed], options.out / "steps.safetensors"
    return artifacts.choose(range(options.choose), among=among, most=options.most, state=state, progress=True)


def repairs_for(artifacts: Artifacts, marks: Marks, steps: Sequence[Step]) -> list[Repair]:
    """The units that were chosen, and the rule; what is not possible is left out, and said."""
    generator, layer, units = artifacts.generator, artifacts.layer, steps[-1].units
    found = [without_units(generator, layer, units)] if units else []
    rule = erasing_rule(generator, layer, marks.regions)
    try:
        memory = memory_of(generator, layer, "auto", rule.settings.key_space, progress=True)
        found.append(erased(generator, memory, rule))
    except ValueError as error:
        print(f"no rule: {error}", file=sys.stderr)
    return found


def tested_offers(
    artifacts: Artifacts, offers: Sequence[Repair], good: np.ndarray, options: Namespace
) -> tuple[Table, dict[str, Outcome], Interval[float]]:
    """What offers and random sets of units do on unseen images: features, outcomes, and the distance before."""
    units = next((each.units for each in offers if each.units), ())
    drawn = random_sets(artifacts.units, units, options.random) if units else {}
    random = {name: without_units(artifacts.generator, artifacts.layer, each) for name, each in drawn.items()}
    repairs = {each.kind: each for each in offers} | random
    seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + options.test)
    patches = {name: each.patch for name, each in repairs.items()}
    tested = features_with(artifacts, patches, seeds, state=options.out / "tested.safetensors", progress=True)
    before, found = outcomes(tested, {BEFORE: (), **{name: each.units for name, each in repairs.items()}}, good)
    return tested, found, before


def write_offers(
    generator: Generator, document: Mapping[str, Any], offers: Sequence[Repair], tested: Table, out: Path
) -> None:
    """Write all files; the first offer is the patch."""
    pairs, patches = [], {FILES[each.kind]: each.patch for each in offers}
    if offers:
        patches[PATCH] = offers[0].patch
        pairs = changed_pairs(tested, offers[0].kind, partial(drawn_with, generator, offers[0].patch))
    rules = [each.rule.to_json().encode() for each in offers if each.rule is not None]
    write(generator, document, pairs, patches, out, {RULE_FILE: rules[0]} if rules else {})


def drawn_with(generator: Generator, patch: Patch, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Images as they are, and with a patch."""
    before = generator.sample(seeds)
    with patch.applied(generator):
        return before, generator.sample(seeds)


def tell(result: dict) -> str:
    """The offers, the best on images left out first, and what they do on unseen ones."""
    units = ", ".join(map(str, result["units"])) or "none brings images nearer to the reference when it is off"
    lines = [f"units of {result['layer']} by {result['marks']['images']} marked images: {units}"]
    count = result["tested_on"]
    lines.append(f"distance on {count} unseen images: {spoken(result['before'])}, floor {result['floor']:.4f}")
    for offer in result["offers"]:
        lines.append(f"{SAID[offer['kind']]}: {spoken(offer['distance'])}, a fall of {spoken(offer['fall'])}")
    for each in result["random"]:
        lines.append(f"without {len(each['units'])} random units: {spoken(each['distance'])}")
    if result["offers"]:
        lines.append(f"offered first, as {Path(result['out']) / PATCH}: {SAID[result['offers'][0]['kind']]}")
    return "\n".join([*lines, f"page: {Path(result['out']) / 'artifacts.html'}"])
