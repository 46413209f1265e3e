"""Rules as a person marks them, with nothing tuned: one copy, one paste and a few contexts, on the built-in generator.

    python -m benchmarks.own_rules --contexts 3 8 --draws 20 --seeds 1000

Each draw marks other images. Efficacy is the share of the pixels of the replaced concept that show the target
afterwards; strict outside is the share of all other pixels whose concept changed, lenient outside leaves out those that
became the target. All are counted by the segmenter on seeds that no rule uses.
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.marks import TASKS, Marks, Task
from benchmarks.unseen import Unseen
from rewrite import Generator, load_generator, measure, solve
from rewrite.reports.aims import Aim

FIRST_UNSEEN = 600_000


def measured(
    generator: Generator, unseen: Unseen, task: Task, contexts: int, draws: range
) -> Iterator[tuple[float, ...]]:
    """Efficacy, strict and lenient outside, and seconds of CPU of each draw."""
    marks, memory = Marks(generator, task), measure(generator, task.layer, 2000)
    for draw in draws:
        began = time.process_time()
        rule = marks.rule(contexts, draw)
        patch = solve(generator, memory, rule)
        seconds = time.process_time() - began
        with patch.applied(generator):
            yield (*unseen.figures(Aim.of(rule.name, rule.effect, unseen.source.concepts)), seconds)


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
    unseen = Unseen(generator, options.seeds, FIRST_UNSEEN)
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
