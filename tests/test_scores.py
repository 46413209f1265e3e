"""Agreement, its interval, and what chance gives."""

import numpy as np
import pytest
import torch

from dissect.units.scores import Scores, false_discovery_rates
from dissect.units.tally import tally_of
from dissect.units.upsampling import Lit
from rewrite.reports.concepts import Concepts
from tests.test_tally import CONCEPTS, UNITS, brute, example, lists_of


def test_iou_is_what_is_shared_over_what_either_has():
    lit, labels = example()
    wanted = {name: each.sum(axis=0).astype(float) for name, each in brute(lit, labels).items()}
    scores = Scores(tally_of(lists_of(lit), labels, UNITS, CONCEPTS), CONCEPTS)
    union = wanted["active"] + wanted["labelled"] - wanted["both"]
    assert np.allclose(scores.iou, wanted["both"] / union, rtol=1e-12)


def test_the_interval_is_that_of_resampled_images():
    lit, labels = example(images=200)
    lit[:100] &= torch.rand(100, 1, 1, 1, generator=torch.Generator().manual_seed(5)) > 0.5
    interval = Scores(tally_of(lists_of(lit), labels, UNITS, CONCEPTS), CONCEPTS).interval
    counts = {name: each.astype(float) for name, each in brute(lit, labels).items()}
    random, drawn = np.random.default_rng(0), []
    for _ in range(2000):
        weights = random.multinomial(200, np.full(200, 1 / 200))
        both, active, labelled = (np.tensordot(weights, counts[name], 1) for name in ("both", "active", "labelled"))
        drawn.append(both / (active + labelled - both))
    ends = np.percentile(drawn, (2.5, 97.5), axis=0)
    assert np.allclose(interval.low, ends[0], atol=0.12 * (ends[1] - ends[0]).max())
    assert np.allclose(interval.high, ends[1], atol=0.12 * (ends[1] - ends[0]).max())


def test_nothing_shared_has_no_interval():
    lit, labels = example()
    lit[:, 0] = False
    scores = Scores(tally_of(lists_of(lit), labels, UNITS, CONCEPTS), CONCEPTS)
    assert (scores.iou[0] == 0).all()
    assert np.isnan(scores.interval.low[0]).all()


def test_rates_of_pure_chance_are_near_one():
    random = np.random.default_rng(0)
    rates = false_discovery_rates(random.standard_normal((50, 40)), random.standard_normal((8, 50, 40)))
    assert (rates > 0.2).all()


def test_rates_keep_their_promise_where_some_pairs_are_real():
    random, wrong, named = np.random.default_rng(1), 0, 0
    for _ in range(40):
        real = random.standard_normal((50, 40))
        real[:5] += 5
        rates = false_discovery_rates(real, random.standard_normal((8, 50, 40)))
        wrong, named = wrong + (rates[5:] <= 0.05).sum(), named + (rates <= 0.05).sum()
        assert (rates[:5] <= 0.05).mean() > 0.9
    assert wrong / named < 0.07


def test_a_greater_statistic_never_has_a_greater_rate():
    random = np.random.default_rng(2)
    real = random.standard_normal((30, 30)) * 2
    rates = false_discovery_rates(real, random.standard_normal((5, 30, 30)))
    order = np.argsort(real, axis=None)
    assert (np.diff(rates.ravel()[order]) <= 0).all()


@pytest.mark.parametrize("least", [0.04, 0.2])
def test_detectors_follow_the_papers_rule(least):
    lit, labels = example()
    lit[:, 1] = (labels[:, 0] == 2) & lit[:, 1]
    scores = Scores(tally_of(lists_of(lit), labels, UNITS, CONCEPTS), CONCEPTS)
    wanted: dict[str, int] = {}
    for unit in range(UNITS):
        if scores.iou[unit].max() > least:
            name = CONCEPTS.names[scores.iou[unit].argmax()]
            wanted[name] = wanted.get(name, 0) + 1
    assert scores.detectors(least) == wanted
    assert sum(each["units"] for each in scores.by_category(least).values()) == sum(wanted.values())


def test_no_images_give_no_agreement():
    nothing = Lit(*(torch.zeros(0, dtype=torch.int64) for _ in range(3)))
    labels = torch.full((2, 1, 4, 4), -1, dtype=torch.int16)
    scores = Scores(tally_of(nothing, labels, 2, Concepts.of("ab")), Concepts.of("ab"))
    assert (scores.iou == 0).all()
    assert (scores.q == 1).all()
    assert scores.detectors() == {}
