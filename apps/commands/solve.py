"""`rewrite solve`: solve a rule for a patch."""

from argparse import Namespace

from apps.classes import label_for
from apps.estimates import foretell_solution
from apps.memories import memory_of
from rewrite import Generator, Memory, Patch, Rule, load_generator, solve
from rewrite.progress import stage_bar, stages
from rewrite.reports.forecast import lines_of
from rewrite.rules import rule_path

SOLVE = "solve"


def run(options: Namespace) -> dict:
    """Solve, and write the patch."""
    rule = Rule.load(rule_path(options.rule))
    if options.key_space:
        rule = rule.with_settings(key_space=options.key_space)
    generator = load_generator(
        options.model, truncation=rule.truncation, label=label_for(options, [rule]), device=options.device
    )
    generator.layer(rule.layer)
    with stages(f"measure {rule.layer}", SOLVE):
        if options.memory:
            memory = Memory.load(options.memory)
        else:
            memory = memory_of(generator, rule.layer, options.samples, rule.settings.key_space, progress=True)
        foretell_solution(generator, rule)
        patch = solved(generator, memory, rule, options.rank)
    patch.save(options.out)
    return {
        "out": str(options.out),
        "rule": rule.name,
        "layer": patch.layer,
        "rank": patch.rank,
        "forecast": {**patch.forecast, "notes": [*patch.forecast.get("notes", ()), *notes_on(patch, memory)]},
    }


def solved(generator: Generator, memory: Memory, rule: Rule, rank: int | None = None) -> Patch:
    """The patch of a rule, with a progress bar."""
    with stage_bar(100, SOLVE, "%") as bar:

        def step(share: float) -> None:
            bar.update(int(100 * share) - bar.n)

        patch = solve(generator, memory, rule, rank=rank, on_progress=step)
        step(1)
    return patch


def notes_on(patch: Patch, memory: Memory) -> list[str]:
    """What would otherwise go unnoticed: a patch without effect, and a memory of too few keys."""
    notes = []
    if not (patch.left.any() and patch.right.any()):
        notes.append(
            "this patch changes nothing: beside damage, one of drift, others and quiet must be above 0, or all are "
            "left to the marks"
        )
    if memory.count < len(memory.total):
        notes.append(
            f"the memory has {memory.count} keys for {len(memory.total)} dimensions: measure it on more images"
        )
    return notes


def tell(result: dict) -> str:
    """The patch and its forecast."""
    answer = f"rule {result['rule']!r} as a patch of rank {result['rank']} on layer {result['layer']}"
    return "\n".join([f"{answer}, in {result['out']}", *lines_of(result["forecast"])])
