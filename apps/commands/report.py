"""`rewrite report`: the effect of patches on images that no rule was made from."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from apps.classes import label_for
from apps.commands.patches import load_patches
from apps.estimates import foretell
from apps.seeds import images_of
from apps.sources import BUILT_IN, source_for
from dissect.scenes import CONCEPTS
from rewrite import Generator, Patch, Report, Rule, load_generator, report_on
from rewrite.checkpoints.loading import BUILT_IN as GENERATORS
from rewrite.generators.latents import Latents, numbered
from rewrite.reports.concepts import Concepts, ConceptSource
from rewrite.reports.figures import figures_of
from rewrite.reports.forecast import lines_of
from rewrite.reports.perceptual import load_perceptual
from rewrite.reports.rendering import number
from rewrite.reports.report import SEEDS, common_truncation

NONE, UNKNOWN = "none", "not measured"


def run(options: Namespace) -> dict:
    """Measure, and write the report."""
    generator = load_generator(options.model, device=options.device)
    held = load_patches(generator, options.patches, options.strengths)
    patches, strengths = [patch for patch, _ in held], [strength for _, strength in held]
    perceptual = load_perceptual(options.lpips, download=options.download_lpips, progress=True)
    rules = rules_of(patches)
    draw_as(generator, rules, options)
    images = images_of(options, generator)
    numbers, _ = numbered(range(SEEDS) if images is None else images, generator.latents)
    foretell(generator, 2 * len(numbers), 0 if isinstance(images, Latents) else numbers[0])
    found = report_on(
        generator,
        patches,
        strengths=strengths,
        seeds=images,
        source=source_of(options.segmenter, rules, generator),
        perceptual=perceptual,
        progress=True,
    )
    found.save(options.out)
    return result_of(found, options.out)


def tell(result: dict) -> str:
    """Efficacy, side effects, forecasts, and failed expectations."""
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
