"""What a forecast expects of places that nobody marked, beside what becomes of them.

    python -m benchmarks.forecasts --contexts 3 8 --draws 10

Each draw is a rule as a person marks it on the built-in generator (`benchmarks.own_rules`), solved with nothing tuned.
Its patch foretells what will arrive in images that were left out. The same copy is pasted at the places of other
images, and what arrives there of the way to the pasted pictures is measured.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr

from benchmarks.marks import TASKS, Marks
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


def pairs(generator: Generator, contexts: list[int], draws: range) -> Iterator[tuple[str, int, np.ndarray]]:
    """Task, number of contexts, and of each draw: foretold and measured arrival, foretold and measured straying."""
    for name, task in TASKS.items():
        marks, memory = Marks(generator, task), measure(generator, task.layer, 2000)
        for count in contexts:
            rows = []
            for draw in draws:
                rule = marks.rule(count, draw)
                patch = solve(generator, memory, rule)
                foretold = patch.forecast["left_out"]["drawn"]
                found = arrives(generator, patch, other_places(marks, rule, draw + 10_000))
                rows.append((foretold["arrives"], found[0], foretold["strays"], found[1]))
            yield name, count, np.array(rows)


def line(rows: np.ndarray) -> str:
    """Correlations and bias of what arrives and of what strays."""
    parts = []
    for foretold, found in (rows[:, :2].T, rows[:, 2:].T):
        ranks, straight = spearmanr(foretold, found).statistic, pearsonr(foretold, found).statistic
        parts.append(
            f"{foretold.mean():8.3f} {found.mean():8.3f} {(foretold - found).mean():+7.3f} "
            f"{np.abs(foretold - found).mean():6.3f} {straight:6.2f} {ranks:6.2f}"
        )
    return " | ".join(parts)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contexts", type=int, nargs="*", default=[3, 8])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--first", type=int, default=800, help="number of the first draw")
    options = parser.parse_args()
    head = "foretold measured    bias  error pearson rank"
    print(f"{'task':18} {'contexts':>8} | arrives: {head} | strays: {head}")
    draws, everything = range(options.first, options.first + options.draws), []
    for name, count, rows in pairs(load_generator("towers"), options.contexts, draws):
        everything.append(rows)
        print(f"{name:18} {count:8} | {line(rows)}", flush=True)
    print(f"{'all':18} {sum(map(len, everything)):8} | {line(np.concatenate(everything))}")


if __name__ == "__main__":
    main()
