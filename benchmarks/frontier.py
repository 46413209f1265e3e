"""Efficacy against what changes outside, at what cost: the closed form beside fine-tuning and the 2020 paper's method.

    python -m benchmarks.frontier --out frontier [--tasks tree-on-towers "3 contexts"] [--methods "layer at 0.01"]

Tasks are the built-in rules, and rules that a person marks, of 3 and 8 contexts (tree for tops, means of several
draws). Each method has several settings, and each of these is one point: efficacy and strict outside by the segmenter
on seeds that no rule uses, and seconds of CPU on one thread, without those of the memory, which a layer needs once.
Points are kept in `points.jsonl`, and a run goes on where the last one ended; `frontier.svg` has a chart of each task.

With `--tuning`, rules are marked on other images and held against other seeds than are reported on: on these the
learning rates and steps of the references were chosen.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import torch
from markupsafe import escape

from apps.bench.fine_tuning import Tuning, tuned_layer, tuned_network
from apps.bench.marks import TASKS, Marks
from apps.bench.released import released_patch
from apps.bench.unseen import Unseen
from apps.towers.write_rules import RECIPES
from benchmarks.points import Points
from dissect.charts import Axes, Point, curves
from dissect.concept_rule import Bounds, concept_rule
from dissect.sources.towers import SegmenterSource
from rewrite import Generator, Memory, Patch, Rule, Settings, load_generator, measure, solve
from rewrite.reports.aims import Aim
from rewrite.rules.built_in import BUILT_IN
from rewrite.storage import files

FIRST_UNSEEN, FIRST_DRAW = 400_000, 1100
TUNED_ON, FIRST_TUNED_DRAW, TUNING_MARKS = 300_000, 0, range(12_000, 12_480)
OWN = {"3 contexts": 3, "8 contexts": 8}
STRENGTHS = (0.5, 0.7, 0.85, 1.0, 1.15, 1.3)
# Damage, drift and others.
WEIGHTS = ((3e-4, 1e-3, 30), (3e-4, 3e-3, 30), (3e-4, 0.01, 30), (3e-4, 0.03, 30), (3e-4, 0.01, 100), (3e-4, 0.1, 30))
LAYER_STEPS, NETWORK_STEPS, RELEASED_STEPS = (20, 40, 80, 150, 300), (20, 40, 80, 150), (31, 101, 301, 2001)
# Of a chart: what it shows of strict outside and of efficacy, in percent, and its size in pixels.
AXES = Axes(right=4, least=20, most=100, end=464, base=340)

Edit = AbstractContextManager[Generator]


class Answer(NamedTuple):
    """What a method makes of a rule at one of its settings, and the seconds of CPU that it took."""

    setting: Any
    edit: Edit
    seconds: float


class Bench:
    """A generator, and the memories of its layers."""

    def __init__(self, generator: Generator):
        self.generator = generator
        self.memories: dict[tuple[str, str], Memory] = {}

    def memory(self, layer: str, samples: int, key_space: str = "patch") -> Memory:
        """The memory of a layer, measured once."""
        if (layer, key_space) not in self.memories:
            self.memories[layer, key_space] = measure(self.generator, layer, samples, key_space=key_space)
        return self.memories[layer, key_space]

    def solved(self, rule: Rule) -> tuple[Patch, float]:
        """The closed form's answer and its seconds of CPU."""
        memory, began = self.memory(rule.layer, 2000), time.process_time()
        patch = solve(self.generator, memory, rule)
        return patch, time.process_time() - began


def at_strengths(bench: Bench, rule: Rule, strengths: Sequence[float]) -> Iterator[Answer]:
    """The closed form with the rule's settings, at several strengths."""
    patch, seconds = bench.solved(rule)
    for strength in strengths:
        yield Answer(strength, patch.applied(bench.generator, strength), seconds)


def by_default(settings: Settings, bench: Bench, rule: Rule, strengths: Sequence[float]) -> Iterator[Answer]:
    """The closed form with settings from the marks, at several strengths."""
    return at_strengths(bench, replace(rule, settings=settings), strengths)


def with_weights(bench: Bench, rule: Rule, weights: Sequence[Sequence[float]]) -> Iterator[Answer]:
    """The closed form with given weights."""
    for damage, drift, others in weights:
        given = replace(Settings.from_marks(), damage=damage, drift=drift, others=others, weights="given", descent=0)
        patch, seconds = bench.solved(replace(rule, settings=given))
        yield Answer((damage, drift, others), patch.applied(bench.generator), seconds)


def tuned(method: Callable, rate: float, bench: Bench, rule: Rule, stops: Sequence[int]) -> Iterator[Answer]:
    """Fine-tuning, looked at after several numbers of steps of one run."""
    found, seconds = method(bench.generator, rule, Tuning(rate, stops)), 0.0
    for stop in stops:
        began = time.process_time()
        edit = next(found)
        seconds += time.process_time() - began
        yield Answer(stop, edit.applied(bench.generator), seconds)


def released(bench: Bench, rule: Rule, counts: Sequence[int]) -> Iterator[Answer]:
    """The 2020 paper's method, with several numbers of steps.

    Where a rule's layer doubles the side, it gets the next one, at which it does better: tree-on-towers is .2 % at the
    rule's own layer.
    """
    names = list(bench.generator.layers)
    if bench.generator.layer(rule.layer).kind == "transposed":
        rule = replace(rule, layer=names[names.index(rule.layer) + 1])
    memory = bench.memory(rule.layer, 1000, "channel")
    for steps in counts:
        began = time.process_time()
        patch = released_patch(bench.generator, memory, rule, steps=steps)
        yield Answer(steps, patch.applied(bench.generator), time.process_time() - began)


class Method(NamedTuple):
    """A way to rewrite a rule.

    Attributes:
        answers: What it makes of a rule at some settings.
        settings: In the order of its curve.
        told: How a chart names it.
    """

    answers: Callable
    settings: Sequence
    told: str


ALONE, FINISHED = "closed form alone", "as delivered"
METHODS = {
    "closed form alone": Method(
        partial(by_default, replace(Settings.from_marks(), finish=0, descent=0)), STRENGTHS, ALONE
    ),
    "closed form by strength": Method(partial(by_default, Settings.from_marks()), STRENGTHS, FINISHED),
    "closed form by weights": Method(with_weights, WEIGHTS, "closed form and finish, by weights"),
    "the rule's own settings": Method(at_strengths, STRENGTHS, FINISHED),
    "layer at 0.003": Method(partial(tuned, tuned_layer, 0.003), LAYER_STEPS, "the layer fine-tuned at .003"),
    "layer at 0.01": Method(partial(tuned, tuned_layer, 0.01), LAYER_STEPS, "the layer fine-tuned"),
    "layer at 0.03": Method(partial(tuned, tuned_layer, 0.03), LAYER_STEPS, "the layer fine-tuned at .03"),
    "network at 0.0005": Method(partial(tuned, tuned_network, 0.0005), NETWORK_STEPS, "the network fine-tuned"),
    "network at 0.002": Method(partial(tuned, tuned_network, 0.002), NETWORK_STEPS, "the network fine-tuned at .002"),
    "2020": Method(released, RELEASED_STEPS, "the 2020 method"),
}


class Tasks:
    """The rules of each task, by the number of the draw."""

    def __init__(self, generator: Generator, draws: int, *, tuning: bool):
        self.generator, self.draws, self.tuning = generator, draws, tuning

    def rules(self, task: str) -> dict[int, Rule]:
        """The rules of a task."""
        if task in OWN:
            first = FIRST_TUNED_DRAW if self.tuning else FIRST_DRAW
            return {draw: self._marks.rule(OWN[task], draw) for draw in range(first, first + self.draws)}
        if not self.tuning:
            return {0: Rule.load(BUILT_IN[task])}
        words, pixels = RECIPES[task]
        bounds = Bounds(copy_pixels=pixels)
        return {0: concept_rule(self.generator, SegmenterSource(), replace(words, name=task), TUNING_MARKS, bounds)}

    @cached_property
    def _marks(self) -> Marks:
        return Marks(self.generator, TASKS["tree for tops"])


def up_to(steps: int, settings: Sequence) -> list:
    """The settings but for those of more steps."""
    return [setting for setting in settings if not isinstance(setting, int) or setting <= steps]


def missing(points: Points, settings: Sequence, **where: Any) -> list:
    """The settings without a point."""
    return [setting for setting in settings if not points.of(setting=setting, **where)]


def means(points: Points, task: str) -> dict[str, list[dict[str, Any]]]:
    """Of each method its points of a task, in the order of its settings, each the mean of its draws.

    A curve does not mix draws: it is of those that have all of its points.
    """
    lines = {}
    for name, method in METHODS.items():
        found = [(setting, points.of(task=task, method=name, setting=setting)) for setting in method.settings]
        found = [(setting, rows) for setting, rows in found if rows]
        whole = set.intersection(*({row["draw"] for row in rows} for _, rows in found)) if found else set()
        kept = [(setting, [row for row in rows if row["draw"] in whole]) for setting, rows in found if whole]
        lines[name] = [{"setting": setting, **_mean(rows)} for setting, rows in kept]
    return {name: line for name, line in lines.items() if line}


def _mean(rows: list[dict[str, Any]]) -> dict[str, float]:
    names = ("efficacy", "strict", "lenient", "seconds")
    return {name: sum(row[name] for row in rows) / len(rows) for name in names} | {"draws": len(rows)}


def chart(task: str, lines: dict[str, list[dict[str, Any]]]) -> str:
    """Efficacy over strict outside, a curve for each method, told with its settings and their seconds of CPU.

    What lies below the chart is left out, and what lies to the right of it is told instead.
    """
    drawn = {}
    for method, line in lines.items():
        near = [p for p in line if p["strict"] <= AXES.right and p["efficacy"] >= AXES.least]
        drawn[_told(method, line)] = [Point(p["strict"], p["efficacy"]) for p in near]
    return curves(drawn, task, "strict outside, % (better to the left)", "efficacy, % (better above)", AXES)


def _told(method: str, line: list[dict[str, Any]]) -> str:
    seconds = [point["seconds"] for point in line]
    parts = [METHODS[method].told, f"{_range(min(seconds), max(seconds))} s"]
    numbers = [point["setting"] for point in line]
    if all(isinstance(number, int | float) for number in numbers):
        counted = "steps" if isinstance(numbers[0], int) else "of the strength"
        parts.insert(1, f"{numbers[0]:g} to {numbers[-1]:g} {counted}")
    if line[0]["draws"] > 1:
        parts.append(f"{line[0]['draws']} draws")
    far = [f"{p['efficacy']:.0f} at {p['strict']:.1f}" for p in line if p["strict"] > AXES.right]
    return ", ".join(parts) + (f" (to the right: {', '.join(far)})" if far else "")


def _range(low: float, high: float) -> str:
    ends = list(dict.fromkeys(f"{value:.2g}" if value < 10 else f"{value:.0f}" for value in (low, high)))
    return " to ".join(ends)


def sheet(charts: dict[str, str]) -> str:
    """Charts below each other, each under its name, on a ground of their own."""
    sizes = [ElementTree.fromstring(each) for each in charts.values()]
    width = max(float(each.get("width", 0)) for each in sizes)
    parts, down = [], 0.0
    for (name, each), size in zip(charts.items(), sizes, strict=True):
        heading = f'<text x="64" y="22" style="font-weight: 600">{escape(name)}</text>'
        parts.append(f'<g transform="translate(0,{down:g})">{heading}<g transform="translate(0,16)">{each}</g></g>')
        down += float(size.get("height", 0)) + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {down:g}" color="#24292f">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def measure_points(
    bench: Bench, unseen: Unseen, points: Points, rules: dict[int, Rule], task: str, asked: dict[str, Sequence]
) -> None:
    """Measure the points of a task that are not known yet: those of some methods, at their settings."""
    for draw, rule in rules.items():
        aim = Aim.of(rule.name, rule.effect, unseen.source.concepts)
        for method, wanted in asked.items():
            where = {"task": task, "draw": draw, "method": method}
            settings = missing(points, wanted, **where)
            for answer in METHODS[method].answers(bench, rule, settings) if settings else ():
                with answer.edit:
                    figures = unseen.figures(aim)
                points.add(**where, setting=answer.setting, **figures._asdict(), seconds=answer.seconds)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*BUILT_IN, *OWN]
    parser.add_argument("--tasks", nargs="*", choices=names, default=names)
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--draws", type=int, default=6, help="of the rules that a person marks")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--most", type=int, default=2001, help="steps of the descents, at most")
    parser.add_argument("--tuning", action="store_true", help="on the marks and seeds that are not reported on")
    parser.add_argument("--out", type=Path, required=True, help="folder of the points and charts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # the first one imports much, which is no method's cost
    options.out.mkdir(parents=True, exist_ok=True)
    generator, points = load_generator("towers"), Points(options.out / "points.jsonl")
    bench, tasks = Bench(generator), Tasks(generator, options.draws, tuning=options.tuning)
    unseen = Unseen(generator, options.seeds, TUNED_ON if options.tuning else FIRST_UNSEEN)
    asked, charts = {name: up_to(options.most, METHODS[name].settings) for name in options.methods}, {}
    print(f"{'task':15} {'method':24} {'setting':20} | efficacy strict lenient | seconds of CPU, draws")
    for task in options.tasks:
        measure_points(bench, unseen, points, tasks.rules(task), task, asked)
        lines = means(points, task)
        charts[task] = chart(task, lines)
        files.write_text(options.out / "frontier.svg", sheet(charts))
        for method, line in lines.items():
            for p in line:
                print(
                    f"{task:15} {method:24} {p['setting']!s:20} | {p['efficacy']:8.1f} {p['strict']:6.2f} "
                    f"{p['lenient']:7.2f} | {p['seconds']:6.1f} {p['draws']}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
