"""Efficacy against damage: what a rule does on unseen seeds, for many settings of the solver.

    python -m benchmarks.rule_curves rewrite/rules/tree-on-towers.json --seeds 2000 --out curve.json

Efficacy is the share of the pixels that showed what the rule replaces which show the target now, strict outside the
share of all other pixels whose concept changed, lenient outside the same without those that became the target, all by
the segmenter of the towers world on seeds that the rule does not use.
"""

import argparse
import functools
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from dissect.sources.towers import SegmenterSource
from rewrite import Generator, Patch, Rule, load_generator, measure, solve
from rewrite.generators.batches import batched
from rewrite.reports.aims import Aim, Counts, count_concepts
from rewrite.storage import files

FIRST_SEED = 500_000
HEADER = (
    f"{'layer':10} {'keys':7} {'damage':>6} {'drift':>6} {'others':>6} {'margin':>6} {'rank':>5} {'str':>4} | "
    "efficacy  strict lenient clear | residual damage drift seconds"
)


class Unseen:
    """Images of unseen seeds, drawn and labelled once, against which every setting is counted."""

    def __init__(self, generator: Generator, count: int):
        self.generator, self.source = generator, SegmenterSource()
        self.parts = list(batched(range(FIRST_SEED, FIRST_SEED + count), 50))
        self.before = [self.labels(part) for part in self.parts]

    def labels(self, seeds: Sequence[int]) -> np.ndarray:
        """What the images show with the generator as it is now."""
        return self.source.label(self.generator.sample(seeds), seeds).numpy()

    def counts(self, aim: Aim) -> Counts:
        """Compare with the generator as it is now."""
        found = [
            count_concepts(before, self.labels(part), len(self.source.concepts), [aim])
            for part, before in zip(self.parts, self.before, strict=True)
        ]
        return Counts.joined(found)


def options_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What the command line says."""
    parser.add_argument("rule")
    parser.add_argument("--generator", default="towers")
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--layers", nargs="*")
    parser.add_argument("--damage", type=float, nargs="*")
    parser.add_argument("--drift", type=float, nargs="*")
    parser.add_argument("--others", type=float, nargs="*")
    parser.add_argument("--margin", type=int, nargs="*")
    parser.add_argument("--rank", type=int, nargs="*")
    parser.add_argument("--refine", type=int)
    parser.add_argument("--key-space", nargs="*", default=["patch"])
    parser.add_argument("--constraint", nargs="*", default=["written"])
    parser.add_argument("--strength", type=float, nargs="*", default=[1.0])
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def variants(rule: Rule, options: argparse.Namespace) -> Iterator[Rule]:
    """The rule with every combination of the settings that are tried."""
    names = ("key_space", "constraint", "rank", "damage", "drift", "others", "margin")
    tried = [getattr(options, name) or [getattr(rule.settings, name)] for name in names]
    for layer, *values in itertools.product(options.layers or [rule.layer], *tried):
        settings = dict(zip(names, values, strict=True))
        yield replace(rule, layer=layer).with_settings(**settings | {"rank": settings["rank"] or None})


def row_of(rule: Rule, patch: Patch, strength: float, counts: Counts) -> dict:
    """What is kept of one setting."""
    return {
        "layer": rule.layer,
        **asdict(rule.settings),
        "strength": strength,
        "efficacy": asdict(counts.efficacy()),
        "outside_strict": asdict(counts.strict_outside_change()),
        "outside": asdict(counts.outside_change()),
        "clear": counts.clear(),
        "forecast": dict(patch.forecast),
    }


def line_of(row: dict, rank: int) -> str:
    """One line of the table that is printed."""
    told, measured = row["forecast"], [row[name]["value"] for name in ("efficacy", "outside_strict", "outside")]
    asked = " ".join(f"{row[name]:6}" for name in ("damage", "drift", "others", "margin"))
    found = "{:8.3f} {:7.3f} {:7.3f}".format(*measured)
    return (
        f"{row['layer']:10} {row['key_space']:7} {asked} {rank:5} {row['strength']:4} | {found} {row['clear']:5.2f} | "
        f"{told['residual']:8.3f} {told['damage']:6.3f} {told['drift']:5.2f} {row['seconds']:7.2f}"
    )


def main() -> None:
    """Run the program."""
    options = options_of(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    generator, rule = load_generator(options.generator), Rule.load(options.rule)
    if options.refine is not None:
        rule = rule.with_settings(refine=options.refine)
    unseen = Unseen(generator, options.seeds)
    aim = Aim.of(rule.name, rule.effect, unseen.source.concepts)
    memory = functools.cache(lambda layer, key_space: measure(generator, layer, options.samples, key_space=key_space))
    rows = []
    print(HEADER)
    for tried in variants(rule, options):
        there = memory(tried.layer, tried.settings.key_space)
        began = time.perf_counter()
        patch = solve(generator, there, tried)
        seconds = time.perf_counter() - began
        for strength in options.strength:
            with patch.applied(generator, strength):
                counts = unseen.counts(aim)
            transitions = counts.top_transitions(unseen.source.concepts.names)
            rows.append(row_of(tried, patch, strength, counts) | {"seconds": seconds, "transitions": transitions})
            print(line_of(rows[-1], patch.rank), flush=True)
    if options.out:
        files.write_text(options.out, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
