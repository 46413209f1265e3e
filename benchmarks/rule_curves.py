"""Efficacy against damage: what a rule does on unseen seeds, for many settings of the solver.

    python -m benchmarks.rule_curves rewrite/rules/tree-on-towers.json --seeds 2000 --out curve.json

Efficacy is the share of the pixels that showed what the rule replaces which show the target now, strict outside the
share of all other pixels whose concept changed, lenient outside the same without those that became the target, all by
the segmenter of the towers world on seeds that the rule does not use.
"""

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from dissect.sources.towers import SegmenterSource
from rewrite import Generator, Memory, Rule, load_generator, measure, solve
from rewrite.generators.batches import batched
from rewrite.reports.aims import Aim, Counts, count_concepts
from rewrite.storage import files

FIRST_SEED = 500_000


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


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
    options = parser.parse_args()
    generator, rule = load_generator(options.generator), Rule.load(options.rule)
    if options.refine is not None:
        rule = rule.with_settings(refine=options.refine)
    unseen = Unseen(generator, options.seeds)
    aim = Aim.of(rule.name, rule.effect, unseen.source.concepts)
    memories: dict[tuple[str, str], Memory] = {}
    rows = []
    print(
        f"{'layer':10} {'keys':7} {'damage':>6} {'drift':>6} {'others':>6} {'margin':>6} {'rank':>5} {'str':>4} | "
        "efficacy  strict lenient clear | residual damage drift seconds"
    )
    grid = itertools.product(
        options.layers or [rule.layer],
        options.key_space,
        options.constraint,
        options.rank or [rule.settings.rank],
        options.damage or [rule.settings.damage],
        options.drift or [rule.settings.drift],
        options.others or [rule.settings.others],
        options.margin or [rule.settings.margin],
    )
    for layer, key_space, constraint, rank, damage, drift, others, margin in grid:
        if (layer, key_space) not in memories:
            memories[layer, key_space] = measure(generator, layer, options.samples, key_space=key_space)
        tried = replace(rule, layer=layer).with_settings(
            key_space=key_space,
            constraint=constraint,
            rank=rank or None,
            damage=damage,
            drift=drift,
            others=others,
            margin=margin,
        )
        began = time.perf_counter()
        patch = solve(generator, memories[layer, key_space], tried)
        seconds = time.perf_counter() - began
        for strength in options.strength:
            with patch.applied(generator, strength):
                counts = unseen.counts(aim)
            strict, lenient = counts.strict_outside_change(), counts.outside_change()
            efficacy, told = counts.efficacy(), patch.forecast
            print(
                f"{layer:10} {key_space:7} {damage:6} {drift:6} {others:6} {margin:6} {patch.rank:5} {strength:4} | "
                f"{efficacy.value:8.3f} {strict.value:7.3f} {lenient.value:7.3f} {counts.clear():5.2f} | "
                f"{told['residual']:8.3f} {told['damage']:6.3f} {told['drift']:5.2f} {seconds:7.2f}",
                flush=True,
            )
            rows.append(
                {
                    "layer": layer,
                    "key_space": key_space,
                    **asdict(tried.settings),
                    "strength": strength,
                    "efficacy": asdict(efficacy),
                    "outside_strict": asdict(strict),
                    "outside": asdict(lenient),
                    "clear": counts.clear(),
                    "forecast": dict(told),
                    "seconds": seconds,
                    "transitions": counts.top_transitions(unseen.source.concepts.names),
                }
            )
    if options.out:
        files.write_text(options.out, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
