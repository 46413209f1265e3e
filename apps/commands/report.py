"""`rewrite report`: what patches do to images that nobody looked at before."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from apps.commands.patches import load_patches
from apps.seeds import parse_seeds
from dissect.segmenter import Segmenter, load_segmenter
from rewrite import Patch, Report, Rule, load_generator, report_on
from rewrite.reports.perceptual import load_perceptual


def run(options: Namespace) -> dict:
    """Measure, and write the report."""
    generator = load_generator(options.model)
    held = load_patches(generator, options.patches, options.strengths)
    patches, strengths = [patch for patch, _ in held], [strength for _, strength in held]
    seeds = None if options.seeds is None else parse_seeds(options.seeds)
    perceptual = load_perceptual(options.lpips, download=options.download_lpips, progress=True)
    rules = rules_of(patches)
    generator.truncation = rules[0].truncation if rules else 1.0
    segmenter = segmenter_for(options.segmenter, rules, generator.size)
    found = report_on(
        generator,
        patches,
        strengths=strengths,
        seeds=seeds,
        label=segmenter and segmenter.label,
        concepts=segmenter.concepts if segmenter else (),
        perceptual=perceptual,
        progress=True,
    )
    found.save(options.out)
    return result_of(found, options.out)


def tell(result: dict) -> str:
    """Say what was found."""
    efficacy = "not measured" if result["efficacy"] is None else f"{result['efficacy']:.3f}"
    lines = [
        f"efficacy {efficacy}, outside {result['outside']:.3f}",
        f"measured by {result['measured_by']} on {result['images']} images",
        *result["notes"],
        *(f"failed: {each}" for each in result["failed"]),
        f"report: {Path(result['out']) / 'report.html'}",
    ]
    return "\n".join(lines)


def result_of(found: Report, out: Path) -> dict:
    """What programs read: the report without its images one by one."""
    document = {name: value for name, value in found.document().items() if name != "per_image"}
    return {"out": str(out), **document, "failed": [str(expectation) for expectation in found.failed]}


def rules_of(patches: Sequence[Patch]) -> list[Rule]:
    """The rules that some patches answer."""
    return [Rule.from_json(text) for patch in patches for text in patch.rules]


def segmenter_for(named: str, rules: Sequence[Rule], size: tuple[int, int]) -> Segmenter | None:
    """The segmenter that is asked for; that of towers only where it can see what the rules speak of.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds no segmenter.
    """
    if named == "none":
        return None
    if named != "towers":
        return load_segmenter(named)
    spoken = {name for rule in rules if rule.effect for name in (*rule.effect["from"], rule.effect["to"]) if name}
    if not spoken or size[0] % 8 or size[1] % 8:
        return None
    segmenter = load_segmenter()
    return segmenter if spoken <= set(segmenter.concepts) else None
