"""Rules as a person marks them, with nothing tuned: one copy, one paste and a few contexts, on the built-in generator.

    python -m benchmarks.own_rules --contexts 3 8 --draws 20 --seeds 1000

Each draw marks other images. Efficacy is the share of the pixels of the replaced concept that show the target
afterwards; strict outside is the share of all other pixels whose concept changed, lenient outside leaves out those that
became the target. All are counted by the segmenter on seeds that no rule uses.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dissect.regions import Thing, things
from dissect.scenes import CONCEPTS, TOPS
from dissect.segmenter import load_segmenter
from dissect.sources.towers import SegmenterSource
from rewrite import Generator, Patch, Rule, load_generator, measure, solve
from rewrite.generators.contract import batched

FIRST_MARKED, MARKED = 20_000, 300
FIRST_UNSEEN = 600_000
LEAST_PLACE, LEAST_COPY = 20, 30


@dataclass(frozen=True)
class Task:
    """What is asked for.

    Attributes:
        layer: Where the rule is solved.
        replaced: The concepts whose regions are marked as places.
        target: The concept that is copied.
    """

    layer: str
    replaced: tuple[str, ...]
    target: str


TASKS = {
    "tree for tops": Task("b32.conv1", TOPS, "tree"),
    "dome for spires": Task("b32.conv1", ("spire",), "dome"),
    "window for doors": Task("b32.conv1", ("door",), "window"),
}


class Marks:
    """The regions that a person could mark for a task."""

    def __init__(self, generator: Generator, task: Task):
        self.generator, self.task, seeds = generator, task, range(FIRST_MARKED, FIRST_MARKED + MARKED)
        source = SegmenterSource()
        self.copies = things(generator, source, [task.target], seeds, least=LEAST_COPY)
        self.places: dict[int, list[Thing]] = {}
        for place in things(generator, source, task.replaced, seeds, least=1, inside=False):
            self.places.setdefault(place.region.latent.seed, []).append(place)
        self.clear = sorted(seed for seed, found in self.places.items() if any(p.pixels >= LEAST_PLACE for p in found))

    def rule(self, contexts: int, draw: int) -> Rule:
        """A rule of one copy, whose places are all that one image and `contexts` more show."""
        random = np.random.default_rng(1000 + draw)
        copy = self.copies[random.integers(len(self.copies))]
        chosen = random.permutation(self.clear)[: contexts + 1]
        first, *more = (place.region for seed in chosen for place in self.places[int(seed)])
        return Rule(
            name=f"{self.task.target} {draw}",
            model=self.generator.fingerprint,
            layer=self.task.layer,
            copy=(copy.region,),
            paste=first,
            context=tuple(more),
            anchor="bottom",
        )


class Unseen:
    """Images that no rule knows, with their labels."""

    def __init__(self, generator: Generator, count: int):
        self.generator, self.label = generator, load_segmenter().label
        self.parts = list(batched(range(FIRST_UNSEEN, FIRST_UNSEEN + count), 50))
        self.before = [self.label(generator.sample(part)) for part in self.parts]

    def figures(self, patch: Patch, task: Task) -> tuple[float, float, float]:
        """Efficacy, strict and lenient outside, in percent."""
        replaced, target = [CONCEPTS.index(name) for name in task.replaced], CONCEPTS.index(task.target)
        sums = np.zeros((3, 2))
        with patch.applied(self.generator):
            for before, part in zip(self.before, self.parts, strict=True):
                after = self.label(self.generator.sample(part))
                was, changed = np.isin(before, replaced), before != after
                spared = ~was & ~((after == target) & (before != target))
                for row, (hits, of) in enumerate(((after == target, was), (changed, ~was), (changed, spared))):
                    sums[row] += (hits & of).sum(), of.sum()
        efficacy, strict, lenient = 100 * sums[:, 0] / sums[:, 1]
        return float(efficacy), float(strict), float(lenient)


def measured(
    generator: Generator, unseen: Unseen, task: Task, contexts: int, draws: range
) -> Iterator[tuple[float, ...]]:
    """Efficacy, strict and lenient outside, and seconds of CPU of each draw."""
    marks, memory = Marks(generator, task), measure(generator, task.layer, 2000)
    for draw in draws:
        began = time.process_time()
        patch = solve(generator, memory, marks.rule(contexts, draw))
        seconds = time.process_time() - began
        yield (*unseen.figures(patch, task), seconds)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--contexts", type=int, nargs="*", default=[3, 8])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=100, help="number of the first draw")
    parser.add_argument("--seeds", type=int, default=1000)
    options = parser.parse_args()
    generator = load_generator("towers")
    unseen = Unseen(generator, options.seeds)
    print(f"{'task':18} {'contexts':>8} | efficacy strict lenient | lowest highest efficacy | seconds of CPU")
    for name in options.tasks:
        for contexts in options.contexts:
            draws = range(options.first, options.first + options.draws)
            rows = np.array(list(measured(generator, unseen, TASKS[name], contexts, draws)))
            efficacy, strict, lenient, seconds = rows.mean(axis=0)
            print(
                f"{name:18} {contexts:8} | {efficacy:8.1f} {strict:6.2f} {lenient:7.2f} | "
                f"{rows[:, 0].min():6.1f} {rows[:, 0].max():7.1f} {'':8} | {seconds:5.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
