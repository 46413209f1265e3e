"""What a forecast expects of places that nobody marked, beside what becomes of them.

    python -m benchmarks.forecasts --contexts 3 8 --draws 10

Each draw is a rule as a person marks it on the built-in generator (`benchmarks.own_rules`), solved with nothing tuned.
Its patch foretells what will arrive in images that were left out. The same copy is pasted at the places of other
images, and what arrives there of the way to the pasted pictures is measured. Pooled rules differ by task, which any
forecast would see; the last line says what it knows of rules of one task and one number of contexts.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr

from apps.bench.marks import TASKS, Marks
from benchmarks.points import Points
from rewrite import Generator, Patch, Rule, load_generator, measure, solve
from rewrite.goals.pasted import Moved, pasted_images
from rewrite.goals.scene import latents_of

UNMARKED = 24


def other_places(marks: Marks, rule: Rule, draw: int) -> Rule:
    """A rule with the same copy, whose places are those of images that the rule does not know."""
    known = {region.latent for region in (*rule.copy, *rule.places)}
    marked = marks.rule(UNMARKED + len(known), draw)
    places = [region for region in marked.places if region.latent not in known]
    return replace(rule, paste=places[0], context=tuple(places[1:]))


@torch.no_grad()
def arrives(generator: Generator, patch: Patch, rule: Rule) -> tuple[float, float]:
    """What arrives at the places of a rule, and what strays in their images."""
    aims = pasted_images(generator, rule)
    with patch.applied(generator):
        after = [generator.images(latents_of(generator, [aim.latent]))[0] for aim in aims]
    moved = Moved.together(aim.moved(image) for aim, image in zip(aims, after, strict=True))
    return moved.arrives, moved.strays


def foretold_and_found(generator: Generator, contexts: list[int], draws: range, points: Points) -> None:
    """Of each rule without a point: foretold and measured arrival, foretold and measured straying."""
    for name, task in TASKS.items():
        asked = [{"task": name, "contexts": count, "draw": draw} for count in contexts for draw in draws]
        asked = [rule for rule in asked if not points.of(**rule)]
        if not asked:
            continue
        marks, memory = Marks(generator, task), measure(generator, task.layer, 2000)
        for number in asked:
            rule = marks.rule(number["contexts"], number["draw"])
            patch = solve(generator, memory, rule)
            foretold = patch.forecast["left_out"]["drawn"]
            found = arrives(generator, patch, other_places(marks, rule, number["draw"] + 10_000))
            points.add(**number, figures=[foretold["arrives"], found[0], foretold["strays"], found[1]])


def line(rows: np.ndarray) -> str:
    """Correlations and bias of what arrives and of what strays."""
    parts = []
    for foretold, found in (rows[:, :2].T, rows[:, 2:].T):
        parts.append(
            f"{foretold.mean():8.3f} {found.mean():8.3f} {(foretold - found).mean():+7.3f} "
            f"{np.abs(foretold - found).mean():6.3f} {correlations(foretold, found)}"
        )
    return " | ".join(parts)


def within(groups: list[np.ndarray]) -> str:
    """Correlations of what is left when every group's own means are taken off."""
    rows = np.concatenate([rows - rows.mean(axis=0) for rows in groups])
    return " | ".join(f"{'':31} {correlations(*pair)}" for pair in (rows[:, :2].T, rows[:, 2:].T))


def correlations(foretold: np.ndarray, found: np.ndarray) -> str:
    """Of values, and of their ranks."""
    return f"{pearsonr(foretold, found).statistic:6.2f} {spearmanr(foretold, found).statistic:6.2f}"


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contexts", type=int, nargs="*", default=[3, 8])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--first", type=int, default=800, help="number of the first draw")
    parser.add_argument("--out", type=Path, help="file of the points, from which a run goes on")
    options = parser.parse_args()
    head = "foretold measured    bias  error pearson rank"
    print(f"{'task':18} {'contexts':>8} | arrives: {head} | strays: {head}")
    draws, points = range(options.first, options.first + options.draws), Points(options.out)
    foretold_and_found(load_generator("towers"), options.contexts, draws, points)
    groups = []
    for name in TASKS:
        for count in options.contexts:
            found = points.of(task=name, contexts=count)
            groups.append(np.array([row["figures"] for row in found if row["draw"] in draws]))
            print(f"{name:18} {count:8} | {line(groups[-1])}")
    print(f"{'all':18} {sum(map(len, groups)):8} | {line(np.concatenate(groups))}")
    print(f"{'within a group':27} | {within(groups)}")


if __name__ == "__main__":
    main()
