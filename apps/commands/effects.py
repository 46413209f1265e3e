"""`rewrite effects`: which units of a layer cause which concepts, and where concepts can be inserted."""

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from apps.commands.rule import named
from apps.dissections import dissection_for, resolved_units
from apps.estimates import foretell_times
from apps.sources import source_for
from dissect.causes.cause_page import cause_page
from dissect.causes.cause_report import context_csv, curves_csv, document_of, effects_csv
from dissect.causes.cause_strips import strips_of
from dissect.causes.causes import Plan, find_causes
from dissect.causes.experiment import BATCH, Experiment
from dissect.causes.intervention import Intervention
from dissect.causes.ranking import check_dissection
from dissect.units.dissection import Dissection
from dissect.units.summary import as_json
from rewrite import load_generator
from rewrite.generators.classes import marked
from rewrite.interrupts import goes_on_from
from rewrite.progress import stages
from rewrite.storage.files import write_together
from rewrite.storage.ledger import Ledger

STATE = "effects.safetensors"


def run(options: Namespace) -> dict:
    """Measure, and write what was found."""
    generator = load_generator(options.model, truncation=options.truncation, label=options.label, device=options.device)
    experiment = Experiment(generator, options.layer, source_for(options.segmenter, generator))
    concepts = concepts_of(options.concepts, experiment)
    plan = Plan(
        samples=options.samples,
        training=options.training,
        positions=options.positions,
        side=options.side,
        promising=options.promising,
        steps=options.steps,
        given=units_of(options, experiment),
    )
    dissection = dissection_of(options.dissection, experiment)
    identity = {
        "model": generator.fingerprint,
        "truncation": generator.truncation,
        **marked(generator.label),
        "layer": options.layer,
        "source": experiment.source.identity,
        "concepts": concepts,
        "plan": asdict(plan),
        "dissection": None if dissection is None else [dict(dissection.identity), dissection.numbers],
    }
    ledger = Ledger(options.out / STATE, identity, "effects", progress=True)
    if not ledger.stages:  # one that goes on says at each stage how much is left
        foretell_effects(experiment, plan, len(concepts), rankings=2 + (dissection is not None))
    with goes_on_from(options.out / STATE), stages(*plan.stages(concepts)):
        causes = find_causes(experiment, concepts, plan, dissection=dissection, ledger=ledger)
        document = document_of(causes, experiment, dissection)
        title = f"What causes {', '.join(concepts)} in {options.model}"
        contents = {
            "effects.json": as_json(document),
            "effects.csv": effects_csv(document),
            "curves.csv": curves_csv(document),
            "context.csv": context_csv(document),
            "effects.html": cause_page(document, strips_of(experiment, causes), title),
        }
        write_together(options.out, {name: text.encode() for name, text in contents.items()})
    return result_of(document, options.out)


def foretell_effects(experiment: Experiment, plan: Plan, concepts: int, rankings: int) -> None:
    """Say about how long it takes, from the time that one unit takes in some images."""
    seeds = range(BATCH)
    prefix, images = experiment.prefix(seeds), plan.images(experiment.units, concepts, rankings)
    foretell_times(
        lambda: experiment.labels(prefix, seeds, Intervention.off([0])),
        images / len(seeds),
        f"to draw and name about {images} images from layer {experiment.layer} on",
    )


def tell(result: dict) -> str:
    """The units of each concept, and where it can be inserted."""
    lines = []
    for found in result["concepts"]:
        curve = found["curves"][found["ranking"]]
        most = max(point["removed"]["value"] or 0 for point in curve["points"])
        lines.append(
            f"{found['concept']}: {len(found['set'])} units ({', '.join(map(str, found['set']))}) are enough, of those "
            f"that remove {most:.0%}; ranked by {found['ranking']}"
        )
        if found["context"]:
            first, last = found["context"][0], found["context"][-1]
            lines.append(
                f"  inserted where {first['context']} stands: {first['ace']['value']:.2f} of its mean area; "
                f"where {last['context']} stands: {last['ace']['value']:.2f}"
            )
    return "\n".join([*lines, f"page: {Path(result['out']) / 'effects.html'}"])


def result_of(document: dict, out: Path) -> dict:
    """The JSON result: the document without the list of units."""
    concepts = [{name: value for name, value in each.items() if name != "unit"} for each in document["concepts"]]
    return {"out": str(out), **document, "concepts": concepts}


def concepts_of(text: str, experiment: Experiment) -> list[str]:
    """Parse the names of concepts.

    Raises:
        LookupError: The source does not know one of them.
        ValueError: None is named.
    """
    names = list(named(text))
    if not names:
        raise ValueError("effects need at least one concept, got none")
    for name in names:
        experiment.source.concepts.number(name)
    return names


def units_of(options: Namespace, experiment: Experiment) -> tuple[int, ...]:
    """Parse units, given by number or by the concept that they detect.

    Raises:
        FileNotFoundError, LookupError: See `resolved_units`.
        ValueError: The layer has no such unit; or see there.
    """
    if not options.units:
        return ()
    model = experiment.generator.fingerprint
    units = resolved_units(named(options.units), options.dissection, options.layer, model)
    beyond = [unit for unit in units if unit >= experiment.units]
    if beyond:
        raise ValueError(f"layer {options.layer} has units 0 to {experiment.units - 1}, got {beyond[0]}")
    return tuple(dict.fromkeys(units))


def dissection_of(path: Path | None, experiment: Experiment) -> Dissection | None:
    """The dissection of the layer in a file; by default the one that comes with the model, if any.

    Raises:
        FileNotFoundError: There is no such file.
        LookupError: It holds no dissection of this layer.
        ValueError: It is damaged, or of another model.
    """
    try:
        found = dissection_for(path, experiment.layer, experiment.generator.fingerprint)
        check_dissection(found, experiment)
    except (LookupError, ValueError):
        if path is not None:
            raise
        return None
    return found
