"""Rules as a person marks them, with nothing tuned: one copy, one paste and a few contexts, on the built-in generator.

    python -m benchmarks.own_rules --contexts 3 8 --draws 20 --seeds 1000

Each draw marks other images. Efficacy is the share of the pixels of the replaced concept that show the target
afterwards; strict outside is the share of all other pixels whose concept changed, lenient outside leaves out those that
became the target. All are counted by the segmenter on seeds that no rule uses.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from apps.bench.marks import TASKS, Marks
from apps.bench.unseen import Figures, Unseen
from benchmarks.points import Points
from rewrite import Generator, load_generator, measure, solve
from rewrite.reports.aims import Aim

FIRST_UNSEEN = 600_000


def measured(generator: Generator, unseen: Unseen, name: str, rules: list[dict], points: Points) -> None:
    """Efficacy, strict and lenient outside, and seconds of CPU of each rule of a task."""
    task = TASKS[name]
    marks, memory = Marks(generator, task), measure(generator, task.layer, 2000)
    for number in rules:
        began = time.process_time()
        rule = marks.rule(number["contexts"], number["draw"])
        patch = solve(generator, memory, rule)
        seconds = time.process_time() - began
        with patch.applied(generator):
            figures = unseen.figures(Aim.of(rule.name, rule.effect, unseen.source.concepts))
        expected = patch.forecast["left_out"]
        points.add(**number, **figures._asdict(), seconds=seconds, foretold=expected and expected["drawn"]["arrives"])


def line(rows: list[dict]) -> str:
    """Means over draws with their spread (standard deviation), the ends of efficacy, and if it ranks as foretold."""
    found = np.array([[row[name] for name in (*Figures._fields, "seconds")] for row in rows])
    spread = found.std(axis=0, ddof=1) if len(rows) > 1 else np.full(4, np.nan)
    figures = " | ".join(f"{a:6.2f} {b:5.2f}" for a, b in zip(found.mean(axis=0), spread, strict=True))
    ranks = spearmanr(found[:, 0], [row["foretold"] for row in rows]).statistic if len(rows) > 2 else np.nan
    return f"{figures} | {found[:, 0].min():6.1f} {found[:, 0].max():6.1f} | {ranks:5.2f}"


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--contexts", type=int, nargs="*", default=[3, 8])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=100, help="number of the first draw")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="file of the points, from which a run goes on")
    options = parser.parse_args()
    generator, points = load_generator("towers"), Points(options.out)
    draws = range(options.first, options.first + options.draws)
    unseen = Unseen(generator, options.seeds, FIRST_UNSEEN)
    ends = "efficacy from, to | ranks as foretold"
    print(f"{'task':18} {'contexts':>8} {'draws':>5} | efficacy ± | strict ± | lenient ± | seconds of CPU ± | {ends}")
    for name in options.tasks:
        own = {"task": name, "seeds": options.seeds}
        asked = [{**own, "contexts": count, "draw": draw} for count in options.contexts for draw in draws]
        missing = [rule for rule in asked if not points.of(**rule)]
        if missing:
            measured(generator, unseen, name, missing, points)
        for count in options.contexts:
            rows = [row for row in points.of(**own, contexts=count) if row["draw"] in draws]
            print(f"{name:18} {count:8} {len(rows):5} | {line(rows)}", flush=True)


if __name__ == "__main__":
    main()
