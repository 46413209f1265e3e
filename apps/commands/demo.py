"""`rewrite demo`: from the built-in generator to an edited checkpoint and a report."""

from argparse import Namespace
from pathlib import Path

from apps.commands.report import UNKNOWN, result_of
from apps.memories import memory_of
from dissect.sources.towers import SegmenterSource
from rewrite import Goals, Rule, export, load_generator, report_on, solve
from rewrite.reports.figures import figures_of
from rewrite.reports.perceptual import load_perceptual
from rewrite.reports.rendering import percent
from rewrite.reports.report import unseen_seeds
from rewrite.rules import rule_path
from rewrite.storage.files import write_together
from rewrite.storage.scratch import scratch

RULE = "tree-on-towers"
MODEL = "towers"
SAMPLES, IMAGES = 1000, 200
FILES = ("before-after.png", "report.html", "report.json", "patch.safetensors", "towers-edited.safetensors")


def run(options: Namespace) -> dict:
    """Measure, solve, report and export."""
    rule, generator, goals = Rule.load(rule_path(RULE)), load_generator(MODEL, device=options.device), Goals()
    patch = solve(generator, memory_of(generator, rule.layer, SAMPLES, progress=True), rule, goals=goals)
    found = report_on(
        generator,
        patch,
        seeds=unseen_seeds([rule], IMAGES),
        source=SegmenterSource(),
        perceptual=load_perceptual(),
        goals=goals,
        progress=True,
    )
    with scratch() as made:
        found.save(made)
        patch.save(made / "patch.safetensors")
        export(generator, patch, made / "towers-edited.safetensors", model=MODEL)
        write_together(options.out, {name: (made / name).read_bytes() for name in FILES})
    result = result_of(found, options.out)
    return {**result, "rule": rule.name, "layer": patch.layer, "rank": patch.rank, "files": list(FILES)}


def tell(result: dict) -> str:
    """The rule, its efficacy and side effects, and the files."""
    figures = figures_of(result)
    lines = [
        f"Rule {result['rule']!r} of {MODEL}: the weight of layer {result['layer']} changed by rank {result['rank']}.",
        f"On {result['images']} images that the rule was not made from:",
        *(f"  {each.label}: {percent(result[each.key], missing=UNKNOWN)}. {each.meaning}" for each in figures),
        *(f"  failed: {each}" for each in result["failed"]),
        *(str(Path(result["out"]) / name) for name in result["files"]),
    ]
    return "\n".join(lines)
