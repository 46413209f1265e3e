"""Rules brushed on trained networks of other people, with nothing tuned: defaults against the defaults of before.

    python -m benchmarks.own_networks --weights FOLDER --rules "blue hair" --out pictures

For each rule, layer and setting: `way`, the share of the way to the wanted picture that unseen images went along that
way; `nearer`, one less the distance that is left over the distance there was; `beside`, the change of the pixels that
were to stay; `others`, the change of images where the rule was not to fire (roots of mean squares, images in [-1, 1]).
The wanted picture is the same latent under the other label where a network has labels, else the image with the copy
pasted. Strengths of a patch are varied to compare what changes beside at equal way.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.network_rules import TASKS, Task
from benchmarks.network_rules import Unseen as Images
from benchmarks.trained_networks import load_network
from rewrite import Generator, Memory, Patch, Rule, measure, solve
from rewrite.generators.batches import batched
from rewrite.goals.cache import Goals
from rewrite.goals.pasted import Moved
from rewrite.goals.scene import latents_of
from rewrite.reports.pictures import before_after, save_picture, to_pil
from rewrite.rules.settings import Settings
from rewrite.solvers.choice import Weights, energy_unit, posed, prior, weighed
from rewrite.solvers.leave_out import LeftOut, Refits, folds_of, left_out
from rewrite.solvers.problem import Problem
from rewrite.solvers.quieting import quiet_of, quieted

BEFORE = {
    "Settings()": Settings(damage=0.03, drift=0.03, others=1.0, refine=0),
    "editor": Settings(damage=0.003, drift=0.003, others=3.0, refine=10),
}
DRIFTS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
STRENGTHS = (0.5, 1.0, 1.5)
SHOWN, BATCH = 12, 20
HEADER = (
    "| rule, layer | setting | way | nearer | beside | others | way²/beside | s | beside of the defaults at equal way |"
)
SWEEP_HEADER = "| drift | left out: arrives | beside | arrives²/beside | way | beside | way²/beside |"


@dataclass(frozen=True)
class Figures:
    """What a patch does to unseen images; see the program's description."""

    way: float
    nearer: float
    beside: float
    others: float

    @property
    def worth(self) -> float:
        """What arrives, squared, for what changes beside it."""
        return max(0.0, self.way) ** 2 / max(self.beside, 1e-12)


class Judge:
    """Measures patches on the unseen images of one task."""

    def __init__(self, generator: Generator, images: Images):
        self.generator, self.images = generator, images
        self.still = self._bystanders()

    @torch.no_grad()
    def figures(self, patch: Patch, strength: float = 1.0, *, bystanders: bool = False) -> Figures:
        """What a patch does at a strength; the bystanders take more time."""
        with patch.applied(self.generator, strength):
            after = self.drawn(len(self.images.aims))
            others = self._bystanders() if bystanders else self.still
        aims = self.images.aims
        moved = Moved.together(aim.moved(image) for aim, image in zip(aims, after, strict=True))
        missed = sum(float((a.wanted - b)[:, a.inside].square().sum()) for a, b in zip(aims, after, strict=True))
        stray = (others - self.still).square().mean().sqrt() if len(others) else torch.tensor(torch.nan)
        return Figures(moved.arrives, 1 - (missed / moved.wanted) ** 0.5, moved.strays, float(stray))

    @torch.no_grad()
    def drawn(self, count: int) -> torch.Tensor:
        """The first aims as the generator draws them now."""
        parts = batched([aim.latent for aim in self.images.aims[:count]], BATCH)
        return torch.cat([self.generator.images(latents_of(self.generator, part)) for part in parts])

    def _bystanders(self) -> torch.Tensor:
        seeds = self.images.bystanders
        return self.generator.sample(seeds) if seeds else torch.zeros(0)

    def strip(self, patch: Patch) -> Image.Image:
        """Unseen images before and after."""
        before = torch.stack([aim.before for aim in self.images.aims[:SHOWN]])
        with patch.applied(self.generator):
            after = self.drawn(SHOWN)
        captions = [str(aim.latent.seed) for aim in self.images.aims[:SHOWN]]
        return before_after(to_pil(before), to_pil(after), captions, columns=SHOWN)


@dataclass(frozen=True)
class Solved:
    """A patch and what it does at several strengths."""

    patch: Patch
    seconds: float
    curve: dict[float, Figures]

    @cached_property
    def figures(self) -> Figures:
        return self.curve[1.0]

    def beside_at(self, way: float) -> float:
        """What changes beside at a strength that takes images so far; not a number where no strength does."""
        ways = [0.0, *(figures.way for figures in self.curve.values())]
        rising = next((n for n in range(1, len(ways)) if ways[n] <= ways[n - 1]), len(ways))
        besides = [0.0, *(figures.beside for figures in self.curve.values())]
        return float(np.interp(way, ways[:rising], besides[:rising], right=np.nan))


def solved(judge: Judge, memory: Memory, rule: Rule, goals: Goals) -> Solved:
    """Solve a rule as it stands, and measure it."""
    began = time.process_time()
    patch = solve(judge.generator, memory, rule, goals=goals)
    seconds = time.process_time() - began
    return Solved(patch, seconds, {s: judge.figures(patch, s, bystanders=s == 1) for s in STRENGTHS})


@dataclass(frozen=True)
class Swept:
    """One drift, in units of the layer's energy: what was predicted, and what was measured."""

    drift: float
    predicted: LeftOut
    figures: Figures


def swept(judge: Judge, memory: Memory, rule: Rule, goals: Goals) -> list[Swept]:
    """Every drift with the other weights of a choice: what left-out images predict of it, and what it does."""
    generator, asked = judge.generator, posed(judge.generator, rule)
    problem = Problem.of(generator, memory, goals.of(generator, asked), asked.settings)
    problem = replace(problem, settings=prior(problem))
    unit, first = energy_unit(problem), quieted(problem, quiet_of(generator, memory, [asked], [1.0], goals))
    candidates = [weighed(problem.settings, Weights(drift), unit) for drift in DRIFTS]
    predicted = left_out(Refits(first, folds_of(first)), candidates)
    patches = (solve(generator, memory, replace(rule, settings=each), goals=goals) for each in candidates)
    figures = [judge.figures(patch) for patch in patches]
    return [Swept(*row) for row in zip(DRIFTS, predicted, figures, strict=True)]


def drift_of(patch: Patch) -> float:
    """The drift that a patch was solved with; on a plain layer, as all here are, it counts in the layer's energy."""
    return Rule.from_json(patch.rules[0]).settings.drift


def report(judge: Judge, memory: Memory, rule: Rule, out: Path | None) -> Figures:
    """Print what a rule does at a layer with each setting, and return what the defaults do."""
    found, goals = {}, Goals()
    for name in ("defaults", *BEFORE):
        asked = replace(rule, settings=BEFORE[name], fit="none") if name in BEFORE else rule
        found[name] = solved(judge, memory, asked, goals)
        figures, shown = found[name].figures, f"{rule.name}, {rule.layer}"
        ratio = "" if name == "defaults" else compared(found["defaults"], found[name])
        print(
            f"| {shown} | {name} | {figures.way:.3f} | {figures.nearer:.3f} | {figures.beside:.3f} | "
            f"{figures.others:.3f} | {figures.worth:.2f} | {found[name].seconds:.1f} | {ratio} |",
            flush=True,
        )
        if out:
            save_picture(out / f"{rule.name}-{rule.layer}-{name}.png".replace(" ", "_"), judge.strip(found[name].patch))
    told = found["defaults"].patch.forecast["left_out"]
    told, chosen = told or {}, drift_of(found["defaults"].patch)
    print(
        f"drift {chosen:.2g}, left out: {told.get('arrives', np.nan):.3f} {told.get('beside', np.nan):.3f}\n",
        flush=True,
    )
    return found["defaults"].figures


def report_sweep(judge: Judge, memory: Memory, rule: Rule) -> Figures:
    """Print what each drift is predicted to do at a layer, and does; return the best."""
    print(f"{rule.name}, {rule.layer}", flush=True)
    rows = swept(judge, memory, rule, Goals())
    for row in rows:
        print(
            f"| {row.drift:g} | {row.predicted.arrives:.3f} | {row.predicted.beside:.3f} | {row.predicted.worth:.2f} | "
            f"{row.figures.way:.3f} | {row.figures.beside:.3f} | {row.figures.worth:.2f} |",
            flush=True,
        )
    return max((row.figures for row in rows), key=lambda figures: figures.worth)


def compared(now: Solved, before: Solved) -> str:
    """What changes beside now, as a share of what changed beside before, where as much arrives."""
    reached = max(figures.way for figures in before.curve.values())
    way = min(now.figures.way, 0.999 * reached)
    return f"{now.beside_at(way) / before.beside_at(way):.2f} at {way:.2f}"


def run(folder: Path, task: Task, layers: Sequence[str], count: int, out: Path | None, sweep: bool) -> None:
    """Report a task at its layers."""
    generator, tried = load_network(folder, task.network), {}
    print(SWEEP_HEADER if sweep else HEADER)
    for layer in layers:
        rule = task.rule(generator, layer)
        judge = Judge(generator, task.unseen(generator, rule, count))
        memory = measure(generator, layer, task.samples)
        tried[layer] = report_sweep(judge, memory, rule) if sweep else report(judge, memory, rule, out)
    print(f"best layer: {max(tried, key=lambda layer: tried[layer].worth)}\n", flush=True)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="folder of networks.py and its files")
    parser.add_argument("--rules", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--layers", nargs="*", help="instead of those that each rule tries")
    parser.add_argument("--images", type=int, default=40, help="unseen images of each rule")
    parser.add_argument("--sweep", action="store_true", help="try every drift instead, predicted and measured")
    parser.add_argument("--out", type=Path, help="folder for strips of unseen images")
    options = parser.parse_args()
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    for name in options.rules:
        task = TASKS[name]
        run(options.weights, task, options.layers or task.layers, options.images, options.out, options.sweep)


if __name__ == "__main__":
    main()
