"""A planted shortcut, repaired: rewriting beside fine-tuning of the layer, of the whole network, and the 2020 descent.

    python -m benchmarks.planted_shortcut

In the scenes that `scenes-shortcut` was trained on, one class was always under a mountain and no other class ever was:
it gives much of what stands under a mountain that name. Counter-examples are scenes of other classes under a mountain.
Every method gets the same pictures: ten counter-examples, each also without its mountain; ten pictures of the class
that belongs under one; and ordinary pictures as in training (for the second moment, or replayed beside the ten).
Settings of the other methods are chosen on validation scenes: the least error among those that cost at most half a
point elsewhere.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from apps.bench.descent import RATE, activation_loss, paper_descent
from apps.bench.fine_tuning import Weights
from apps.towers.train_classifiers import SHORTCUT_CLASS, shortcut
from dissect.scene_classes import CLASSES, by_class, class_of, under_mountain, without_mountain
from dissect.scenes import Scene, draw
from dissect.segmenter import images_of
from rewrite import Classifier, ClassifierRule, Patch, load_classifier, measure_pictures, solve_pictures
from rewrite.classifiers.goals import goal_of
from rewrite.patch import base_of
from rewrite.solvers.directions import channel_rows
from rewrite.solvers.problem import Problem
from rewrite.storage.files import write_text

LAYER = "conv4"
PAIRS, KEPT, ORDINARY = 10, 10, 60
GIVEN_SEED, VALIDATION_SEED, TEST_SEED, SEEDS = 30_000_000, 40_000_000, 50_000_000, 5_000_000
VALIDATION, TEST = 20, 120
MOST_LOST = 0.005
RATES, STOPS, REPLAYED = (1e-4, 1e-3, 1e-2), (10, 30, 90), 32
RANKS, DESCENT_STEPS = (1, 3, 10), (200, 2001)
RIDGE = 1e-2


@dataclass(frozen=True)
class Shown:
    """Pictures to score by: counter-examples, and pictures as in training, with their classes."""

    counter: Tensor
    counter_classes: Tensor
    ordinary: Tensor
    ordinary_classes: Tensor

    @classmethod
    def of(cls, first_seed: int, per_class: int) -> "Shown":
        scenes = by_class(range(first_seed, first_seed + SEEDS), per_class)
        others = [scene for scene in scenes if class_of(scene) != SHORTCUT_CLASS]
        counter, ordinary = images([under_mountain(scene) for scene in others]), images(map(shortcut, scenes))
        return cls(counter, classes(others), ordinary, classes(scenes))

    def score(self, classifier: Classifier) -> tuple[float, float]:
        """The error on counter-examples, and the accuracy elsewhere."""
        wrong = classifier.predict(self.counter) != self.counter_classes
        right = classifier.predict(self.ordinary) == self.ordinary_classes
        return float(wrong.double().mean()), float(right.double().mean())


@dataclass(frozen=True)
class Given:
    """What every method gets.

    Attributes:
        counter, wanted: Counter-examples, and the same scenes without their mountain.
        labels: Their classes.
        keep: Pictures of the class that belongs under a mountain.
        ordinary, ordinary_labels: Pictures as in training.
    """

    counter: Tensor
    wanted: Tensor
    labels: Tensor
    keep: Tensor
    ordinary: Tensor
    ordinary_labels: Tensor

    @classmethod
    def of(cls) -> "Given":
        scenes = by_class(range(GIVEN_SEED, GIVEN_SEED + SEEDS), ORDINARY)
        others = [scene for scene in scenes if class_of(scene) != SHORTCUT_CLASS]
        own = [scene for scene in scenes if class_of(scene) == SHORTCUT_CLASS]
        pairs, rest = others[:PAIRS], [*others[PAIRS:], *own[KEPT:]]
        return cls(
            images([under_mountain(scene) for scene in pairs]),
            images([without_mountain(scene) for scene in pairs]),
            classes(pairs),
            images(map(shortcut, own[:KEPT])),
            images(map(shortcut, rest)),
            classes(rest),
        )


def images(scenes) -> Tensor:
    """The pictures of scenes, in [-1, 1]."""
    return images_of(np.stack([draw(scene)[0] for scene in scenes]))


def classes(scenes: Sequence[Scene]) -> Tensor:
    """The class of each scene."""
    return torch.tensor([class_of(scene) for scene in scenes])


def rewritten(classifier: Classifier, given: Given) -> Iterator[tuple[str, Patch]]:
    """Ours: settings are chosen by leaving out pairs, so that there is just one."""
    memory = measure_pictures(classifier, LAYER, given.ordinary.split(64), len(given.ordinary))
    yield "", solve_pictures(classifier, memory, rule_of(classifier, given))


def rule_of(classifier: Classifier, given: Given) -> ClassifierRule:
    """The rule: under a mountain the layer writes what it writes without one."""
    return ClassifierRule.of(
        classifier, LAYER, given.counter, given.wanted, keep=given.keep, name="ignore the mountain"
    )


def descended(classifier: Classifier, given: Given) -> Iterator[tuple[str, Patch]]:
    """The published method (Bau et al. 2020; Santurkar et al. 2021 for classifiers), on the same pairs."""
    memory = measure_pictures(classifier, LAYER, given.ordinary.split(64), len(given.ordinary))
    rule, layer = rule_of(classifier, given), classifier.layer(LAYER)
    problem = Problem.of(classifier, memory, goal_of(classifier, rule), rule.settings)
    moment = problem.moment[:: layer.taps, :: layer.taps]
    moment = moment + RIDGE * moment.diagonal().mean() * torch.eye(len(moment), dtype=moment.dtype)
    about = {"base": base_of(classifier.weight(LAYER)), "model": classifier.fingerprint}
    for rank in RANKS:
        rows = channel_rows(problem.goal.context, moment, layer, rank)
        rows = torch.linalg.qr(rows.T).Q.T
        for steps in DESCENT_STEPS:
            found = paper_descent(layer.outputs, activation_loss(problem), rows, steps=steps, rate=RATE)
            yield f"rank {rank}, {steps} steps", Patch.from_change(layer, found.change, **about)


def tuned(names: Sequence[str], replayed: int) -> Callable[[Classifier, Given], Iterator[tuple[str, Weights]]]:
    """Fine-tuning of some parameters with cross-entropy: on the ten and what belongs to them, and on ordinary pictures.

    Args:
        names: The parameters; all if none are named.
        replayed: How many ordinary pictures go into each step beside the others.
    """

    def tune(classifier: Classifier, given: Given) -> Iterator[tuple[str, Weights]]:
        own = {name: each for name, each in classifier.module.named_parameters() if not names or name in names}
        before = {name: each.detach().clone() for name, each in own.items()}
        for rate in RATES:
            began, random = time.perf_counter(), np.random.RandomState(0)
            optimiser = torch.optim.Adam(list(own.values()), rate)
            try:
                for each in own.values():
                    each.requires_grad_(True)
                for step in range(1, max(STOPS) + 1):
                    optimiser.zero_grad(set_to_none=True)
                    _loss(classifier, given, random.choice(len(given.ordinary), replayed, replace=False)).backward()
                    optimiser.step()
                    if step in STOPS:
                        found = {name: each.detach().clone() for name, each in own.items()}
                        seconds = time.perf_counter() - began
                        yield f"rate {rate:g}, {step} steps, {seconds:.2f} s", Weights(found)
            finally:
                with torch.no_grad():
                    for name, each in own.items():
                        each.requires_grad_(False).copy_(before[name])
                        each.grad = None

    return tune


def _loss(classifier: Classifier, given: Given, replayed: np.ndarray) -> Tensor:
    shown = torch.cat([given.counter, given.wanted, given.keep, given.ordinary[replayed]])
    kept = torch.full((len(given.keep),), SHORTCUT_CLASS)
    labels = torch.cat([given.labels, given.labels, kept, given.ordinary_labels[replayed]])
    return F.cross_entropy(classifier.logits(shown), labels)


METHODS = {
    "rewriting": rewritten,
    "fine-tuning, layer": tuned([f"{LAYER}.weight"], 0),
    "fine-tuning, layer, replay": tuned([f"{LAYER}.weight"], REPLAYED),
    "fine-tuning, all": tuned([], 0),
    "fine-tuning, all, replay": tuned([], REPLAYED),
    "2020 descent": descended,
}


def compare(progress: bool = True) -> dict:
    """Run every method, choose its settings on validation scenes, and score the choice on test scenes."""
    classifier, given = load_classifier("scenes-shortcut"), Given.of()
    validation, test = Shown.of(VALIDATION_SEED, VALIDATION), Shown.of(TEST_SEED, TEST)
    first, start = validation.score(classifier), test.score(classifier)
    rows = []
    for name, method in METHODS.items():
        best, chosen = None, None
        began = time.perf_counter()
        for settings, edit in method(classifier, given):
            seconds = time.perf_counter() - began
            with _edited(classifier, edit):
                error, right = validation.score(classifier)
            # Those that cost too much elsewhere come last, and of them the one that costs least first.
            order = (0.0, error) if first[1] - right <= MOST_LOST else (first[1] - right, error)
            if best is None or order < best:
                best, chosen = order, (settings, edit, seconds)
            began = time.perf_counter()
        assert chosen is not None
        with _edited(classifier, chosen[1]):
            error, right = test.score(classifier)
        row = {"method": name, "settings": chosen[0], "error": error, "lowered": 1 - error / start[0]}
        row |= {"elsewhere": 100 * (right - start[1]), "seconds": chosen[2]}
        rows.append(row)
        if progress:
            print(json.dumps(row), flush=True)
    about = {"layer": LAYER, "class": CLASSES[SHORTCUT_CLASS], "pairs": PAIRS, "kept": KEPT}
    about |= {"ordinary": len(given.ordinary), "counter_examples": len(test.counter), "others": len(test.ordinary)}
    return {**about, "error": start[0], "accuracy": start[1], "rows": rows}


def _edited(classifier: Classifier, edit: Patch | Weights):
    """A patch or other weights, applied inside a `with` block."""
    return edit.applied(classifier)


def main() -> None:
    """Read the command line, compare, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = compare()
    print(f"{'method':28} {'error':>7} {'lowered':>8} {'elsewhere':>10} {'seconds':>8}  settings")
    print(f"{'as it is':28} {result['error']:7.1%}")
    for row in result["rows"]:
        numbers = f"{row['error']:7.1%} {row['lowered']:8.1%} {row['elsewhere']:+9.2f}p {row['seconds']:8.2f}"
        print(f"{row['method']:28} {numbers}  {row['settings']}")
    if options.out:
        write_text(options.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
