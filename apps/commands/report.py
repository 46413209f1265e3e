"""`rewrite report`: the effect of patches on images or pictures that no rule was made from."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from apps import picture_reports
from apps.classes import label_for
from apps.commands.patches import load_patches
from apps.estimates import foretell
from apps.models import load_model
from apps.seeds import images_of
from apps.sources import BUILT_IN, source_for
from dissect.scenes import CONCEPTS
from rewrite import Classifier, Generator, Patch, Report, Rule
from rewrite.checkpoints.loading import BUILT_IN as GENERATORS
from rewrite.generators.latents import Latents, numbered
from rewrite.interrupts import goes_on_from
from rewrite.reports.concepts import Concepts, ConceptSource
from rewrite.reports.effect import STAGE
from rewrite.reports.figures import figures_of
from rewrite.reports.forecast import lines_of
from rewrite.reports.perceptual import load_perceptual
from rewrite.reports.rendering import number
from rewrite.reports.report import common_truncation
from rewrite.reports.reporting import Reporting
from rewrite.storage.ledger import Ledger

NONE, UNKNOWN = "none", "not measured"
# What was compared of the images of a report that its user ended.
STATE, KIND = "unfinished.safetensors", "report"


def run(options: Namespace) -> dict:
    """Measure, or go on measuring, and write the report."""
    model = load_model(options.model, options.architecture, options.device)
    return picture_reports.run(model, options) if isinstance(model, Classifier) else of_generator(model, options)


def of_generator(generator: Generator, options: Namespace) -> dict:
    """The report on patches of a generator."""
    for option in ("pictures", "test"):
        if getattr(options, option) is not None:
            raise ValueError(f"--{option} is for patches of a classifier, and {options.model} is a generator")
    reporting, state = reporting_of(generator, options), options.out / STATE
    ledger = Ledger(state, reporting.identity, KIND, progress=True)
    numbers, _ = numbered(reporting.seeds, reporting.generator.latents)
    first = 0 if isinstance(reporting.seeds, Latents) else numbers[0]
    foretell(reporting.generator, 2 * len(ledger.left(STAGE, numbers, whole=False)), first)
    with goes_on_from(state):
        found = reporting.report(ledger)
        found.save(options.out)
    state.unlink(missing_ok=True)
    return result_of(found, options.out)


def reporting_of(generator: Generator, options: Namespace) -> Reporting:
    """What is to be measured."""
    held = load_patches(generator, options.patches, options.strengths)
    perceptual = load_perceptual(options.lpips, download=options.download_lpips, progress=True)
    rules = rules_of([patch for patch, _ in held])
    draw_as(generator, rules, options)
    return Reporting(
        generator,
        [patch for patch, _ in held],
        strengths=[strength for _, strength in held],
        seeds=images_of(options, generator),
        source=source_of(options.segmenter, rules, generator),
        perceptual=perceptual,
    )


def tell(result: dict) -> str:
    """Efficacy, side effects, forecasts, and failed expectations."""
    if "classes" in result:
        return picture_reports.tell(result)
    lines = [
        ", ".join(f"{each.label.lower()} {number(result[each.key], missing=UNKNOWN)}" for each in figures_of(result)),
        f"measured by {result['measured_by']} on {result['images']} images",
        *(f"{patch['layer']}: {line}" for patch in result["patches"] for line in lines_of(patch["forecast"])),
        *result["notes"],
        *(f"failed: {each}" for each in result["failed"]),
        f"report: {Path(result['out']) / 'report.html'}",
    ]
    return "\n".join(lines)


def result_of(found: Report, out: Path) -> dict:
    """The JSON result: the report without the list of images."""
    document = {name: value for name, value in found.document().items() if name != "per_image"}
    return {"out": str(out), **document, "failed": [str(expectation) for expectation in found.failed]}


def rules_of(patches: Sequence[Patch]) -> list[Rule]:
    """The rules that patches were solved for."""
    return [Rule.from_json(text) for patch in patches for text in patch.rules]


def draw_as(generator: Generator, rules: Sequence[Rule], options: Namespace) -> None:
    """Draw images as rules were written: at their truncation, and of the class of the command line or theirs.

    Raises:
        ValueError: The rules are of several truncations, or the generator has no such class.
    """
    generator.truncation = common_truncation(rules)
    generator.draw_class(label_for(options, rules if generator.classes else []))


def source_of(named: str, rules: Sequence[Rule], generator: Generator) -> ConceptSource | None:
    """The source of concepts of the report; that of towers only if it knows the concepts of the rules.

    Raises:
        FileNotFoundError: There is no such file or folder, or a package that it needs is not installed.
        LookupError: A rule of the built-in generator names a concept that its world does not have.
        ValueError: What is there is no segmenter, or cannot label images of the generator's size.
    """
    if named == NONE:
        return None
    if named != BUILT_IN:
        return source_for(named, generator)
    spoken = {name for rule in rules if rule.effect for name in (*rule.effect["from"], rule.effect["to"]) if name}
    if spoken and generator.checkpoint == GENERATORS[BUILT_IN].absolute():
        for name in spoken:
            Concepts.of(CONCEPTS).number(name)
    if not spoken or not spoken <= set(CONCEPTS):
        return None
    try:
        return source_for(named, generator)
    except ValueError:  # it cannot label images of this size
        return None
