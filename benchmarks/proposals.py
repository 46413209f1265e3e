"""Are proposed contexts of the kind that was marked, and do they help?

    python -m benchmarks.proposals             # the proposals of three marks, held against the segmenter
    python -m benchmarks.proposals --solved    # rules solved with and without them
    python -m benchmarks.proposals --responses # what finds the places: average precision of pixels

A rule has one copy and one, three or eight contexts beside its paste; a draw marks every place of the chosen images, or
(--one) only the largest place of each, as people do. A proposed region is right if at least half of it lies within the
wanted concept, grown by two pixels, or (the second figure) if its IoU with one of the concept's regions is at least .3.
An image counts if all its regions are right. IoU and recall are those of all regions of an image with the concept.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import binary_dilation

from apps.bench.marks import TASKS, Marks, Task
from apps.bench.unseen import Figures, Unseen
from benchmarks.own_rules import FIRST_UNSEEN
from dissect.scenes import CONCEPTS
from dissect.segmenter import load_segmenter
from rewrite import Generator, Memory, Rule, Search, load_generator, measure, propose_contexts, solve
from rewrite.reports.aims import Aim
from rewrite.reports.proposals import LikePlaces, Proposal
from rewrite.rules.masks import regions_of

FIRST_DRAW = 400
COUNTS = (8, 24)
LOOKED_AT = range(15_000, 15_100)
LAYERS = ("b16.conv1", "b32.conv0", "b32.conv1", "b64.conv0", "b64.conv1")


class Truth:
    """Where a task's concepts stand, by the segmenter."""

    def __init__(self, generator: Generator, task: Task):
        self.generator, self.wanted = generator, [CONCEPTS.index(name) for name in task.replaced]
        self.label = load_segmenter().label

    def of(self, seeds: Sequence[int]) -> np.ndarray:
        """A mask for each seed."""
        return np.isin(self.label(self.generator.sample(seeds)), self.wanted)

    def judge(self, proposals: Sequence[Proposal]) -> np.ndarray:
        """Shares of regions that are right, by either measure, and of images; IoU and recall of the images."""
        rows, images = [], []
        for proposal in proposals:
            true = self.of([proposal.latent.seed])[0]
            near, parts = binary_dilation(true, iterations=2), regions_of(true)
            masks = [region.mask.array() for region in proposal.regions]
            judged = [((near & m).sum() >= m.sum() / 2, any(iou(m, part) >= 0.3 for part in parts)) for m in masks]
            together = np.any(masks, axis=0)
            rows += judged
            images.append(
                (all(a for a, _ in judged), iou(together, true), (together & true).sum() / max(1, true.sum()))
            )
        return np.array([*np.mean(rows, axis=0), *np.mean(images, axis=0)]) if rows else np.full(5, np.nan)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """The agreement of two masks."""
    return float((one & other).sum() / (one | other).sum())


def largest_only(rule: Rule) -> Rule:
    """The rule with only the largest place of each image."""
    largest = {}
    for place in sorted(rule.places, key=lambda place: place.mask.array().sum()):
        largest[place.latent] = place
    first, *more = largest.values()
    return replace(rule, paste=first, context=tuple(more))


def print_proposals(generator: Generator, name: str, contexts: Iterable[int], draws: range, one: bool) -> None:
    """Print how many proposals are right, among the first 8 and 24."""
    marks, truth = Marks(generator, TASKS[name]), Truth(generator, TASKS[name])
    for count in contexts:
        found = {most: [] for most in COUNTS}
        beside = []
        for draw in draws:
            rule = marks.rule(count, draw)
            proposals = propose_contexts(generator, largest_only(rule) if one else rule)
            beside.append(truth.judge([each for each in proposals if each.marked]))
            others = [each for each in proposals if not each.marked]
            for most in COUNTS:
                found[most].append(truth.judge(others[:most]))
        rows = {**{f"first {most}": row for most, row in found.items()}, "beside marks": beside}
        for title, judged in rows.items():
            if np.isfinite(judged).any():
                figures = " ".join(f"{100 * each:7.1f}" for each in np.nanmean(judged, axis=0))
                print(f"{name:18} {count:8} {title:14} | {figures}", flush=True)


def print_solved(generator: Generator, name: str, draws: range, seeds: int) -> None:
    """Print efficacy, strict and lenient outside with 3 contexts, with 3 and the first proposals, and with 8."""
    task, unseen = TASKS[name], Unseen(generator, seeds, FIRST_UNSEEN)
    marks, memory = Marks(generator, task), measure(generator, task.layer, 2000)
    rows = np.array([list(_solved(generator, memory, marks, unseen, draw)) for draw in draws])
    for title, figures in zip(("3", *(f"3 and first {most}" for most in COUNTS), "8"), rows.mean(axis=0), strict=True):
        print(f"{name:18} {title:16} | {figures[0]:8.1f} {figures[1]:6.2f} {figures[2]:7.2f}", flush=True)


def _solved(generator: Generator, memory: Memory, marks: Marks, unseen: Unseen, draw: int) -> Iterator[Figures]:
    rule = marks.rule(3, draw)
    proposals = propose_contexts(generator, rule, most=max(COUNTS))
    more = [[region for each in proposals[:most] for region in each.regions] for most in COUNTS]
    for each in (rule, *map(rule.with_contexts, more), marks.rule(8, draw)):
        with solve(generator, memory, each).applied(generator):
            yield unseen.figures(Aim.of(each.name, each.effect, unseen.source.concepts))


def print_responses(generator: Generator, name: str, contexts: Iterable[int], draws: range) -> None:
    """Print the average precision of pixels by the direction of the context, and by likeness at several layers."""
    task = TASKS[name]
    marks, memory = Marks(generator, task), measure(generator, task.layer, 2000)
    true = Truth(generator, task).of(LOOKED_AT).ravel()
    for count in contexts:
        rows = []
        for draw in draws:
            rule = marks.rule(count, draw)
            maps = [Search.of(generator, memory, rule, avoid=LOOKED_AT).firing(LOOKED_AT).numpy()]
            for layer in LAYERS:
                maps.append(LikePlaces.of(generator, rule, layer).likeness(LOOKED_AT))
            rows.append([average_precision(found.ravel(), true) for found in maps])
        named = zip(("direction", *LAYERS), np.mean(rows, axis=0), strict=True)
        print(f"{name:18} {count:8} | " + ", ".join(f"{title} {100 * each:.0f}" for title, each in named), flush=True)


def average_precision(found: np.ndarray, true: np.ndarray) -> float:
    """The mean, over the true pixels, of the share of true ones among those ranked as high."""
    ranked = true[np.argsort(-found, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--contexts", type=int, nargs="*", default=[1, 3, 8])
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--first", type=int, default=FIRST_DRAW, help="number of the first draw")
    parser.add_argument("--seeds", type=int, default=150, help="unseen images of solved rules")
    parser.add_argument("--one", action="store_true", help="mark only the largest place of each image")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--solved", action="store_true")
    which.add_argument("--responses", action="store_true")
    options = parser.parse_args()
    generator, draws = load_generator("towers"), range(options.first, options.first + options.draws)
    for name in options.tasks:
        if options.solved:
            print_solved(generator, name, draws, options.seeds)
        elif options.responses:
            print_responses(generator, name, options.contexts, draws)
        else:
            print_proposals(generator, name, options.contexts, draws, options.one)


if __name__ == "__main__":
    main()
