"""Agreement, its interval, and what chance gives."""

import statistics

import numpy as np
import pytest
import torch

from dissect.units.scores import Scores, false_discovery_rates
from dissect.units.tally import tally_of
from dissect.units.upsampling import Lit
from rewrite.reports.concepts import Concepts
from tests.test_tally import CONCEPTS, SIDE, UNITS, brute, example, lists_of


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


def test_the_interval_is_that_of_the_residuals_of_each_image():
    """A ratio's error by linearisation: the standard deviation of both - iou * either over images, over √n (n - 1)."""
    lit, labels = example(images=5)
    scores = Scores(tally_of(lists_of(lit), labels, UNITS, CONCEPTS), CONCEPTS)
    counts = {name: each.astype(float) for name, each in brute(lit, labels).items()}
    either = counts["active"] + counts["labelled"] - counts["both"]
    residual = counts["both"] - scores.iou * either
    error = np.sqrt(5) * residual.std(axis=0, ddof=1) / either.sum(axis=0)
    low, high = (np.log(end / (1 - end)) for end in (scores.interval.low, scores.interval.high))
    middle = np.log(scores.iou / (1 - scores.iou))
    half = 1.959963985 * error / (scores.iou * (1 - scores.iou))
    assert np.allclose(low, middle - half, rtol=1e-9)
    assert np.allclose(high, middle + half, rtol=1e-9)


def test_one_image_has_no_interval():
    lit, labels = example(images=1)
    scores = Scores(tally_of(lists_of(lit), labels, UNITS, CONCEPTS), CONCEPTS)
    assert (scores.iou > 0).any()
    assert np.isnan([scores.interval.low, scores.interval.high]).all()


def test_no_iou_is_above_its_ceiling_which_a_unit_within_a_concept_reaches():
    lit, labels = example()
    lit[:, 1] &= labels[:, 0] == 2
    scores = Scores(tally_of(lists_of(lit), labels, UNITS, CONCEPTS), CONCEPTS)
    assert (scores.iou <= scores.ceiling).all()
    assert scores.iou[1, 2] == scores.ceiling[1, 2] > 0


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


@pytest.mark.parametrize("seed", [0, 8])
def test_a_pair_stands_out_by_its_distance_from_its_own_null_in_sample_deviations(seed):
    lit, labels = example(seed, images=6)
    lit[:, 1] |= labels[:, 0] == 2
    scores = Scores(tally_of(lists_of(lit), labels, UNITS, CONCEPTS, draws=3), CONCEPTS)
    null = []
    for shift in range(1, 4):
        counts = {name: each.sum(axis=0).astype(float) for name, each in brute(lit, labels, shift).items()}
        labelled = brute(lit, labels)["labelled"].sum(axis=0).astype(float)
        null.append(counts["both"] / (counts["active"] + labelled - counts["both"]))
    null = np.array(null)
    assert np.allclose(scores.chance, null.mean(axis=0))
    floor = np.median([[statistics.stdev(draws) for draws in unit] for unit in null.transpose(1, 2, 0).tolist()])

    def out(value: float, draws: np.ndarray) -> float:
        return (value - statistics.mean(draws)) / (statistics.stdev(draws) + floor + 1e-12)

    pairs = list(np.ndindex(scores.iou.shape))
    real = [out(scores.iou[pair], null[:, *pair]) for pair in pairs]
    drawn = [out(null[d, *pair], np.delete(null[:, *pair], d)) for d in range(3) for pair in pairs]

    def rate(bound: float) -> float:
        by_chance = (sum(each >= bound for each in drawn) + 1) / 3
        return min(1.0, by_chance / sum(each >= bound for each in real))

    for pair, own in zip(pairs, real):
        assert scores.q[pair] == pytest.approx(min(rate(bound) for bound in real if bound <= own))
    assert scores.best[1] == 2
    assert scores.beyond_chance(scores.q[1, 2])[1]
    assert not scores.beyond_chance(scores.q[1, 2] * 0.999)[1]


def test_units_that_draw_a_concept_agree_beyond_chance_and_one_that_draws_nothing_does_not():
    lit, labels = example(images=12)
    for unit in range(3):
        lit[:, unit] = labels[:, 0] == unit
    scores = Scores(tally_of(lists_of(lit), labels, UNITS, CONCEPTS), CONCEPTS)
    assert scores.beyond_chance().tolist() == [True, True, True, False]


def test_a_pair_that_never_meets_by_chance_stands_out():
    """One image shows the concept, and the unit is lit nowhere else: every null is zero, and so is its deviation."""
    labels = torch.full((6, 1, 4, 4), -1, dtype=torch.int16)
    labels[2, 0, 1, 1] = 0
    lit = torch.zeros(6, 2, 4, 4, dtype=torch.bool)
    lit[2, 0, 1, 1] = True
    scores = Scores(tally_of(lists_of(lit), labels, 2, Concepts.of("ab")), Concepts.of("ab"))
    assert scores.q[0, 0] == 1 / 8
    assert (scores.q.ravel()[1:] == 1).all()


def test_fewer_than_three_draws_say_nothing_of_chance():
    lit, labels = example()
    for draws, known in ((2, False), (3, True)):
        scores = Scores(tally_of(lists_of(lit), labels, UNITS, CONCEPTS, draws=draws), CONCEPTS)
        assert bool((scores.q < 1).any()) == known


def test_an_iou_of_just_the_bound_is_no_detection():
    """One pixel of 25 that are lit or labelled: 0.04."""
    labels = torch.full((1, 1, 5, 5), 0, dtype=torch.int16)
    lit = torch.zeros(1, 1, 5, 5, dtype=torch.bool)
    lit[0, 0, 0, 0] = True
    scores = Scores(tally_of(lists_of(lit), labels, 1, Concepts.of("a")), Concepts.of("a"))
    assert scores.iou[0, 0] == 0.04
    assert not scores.detects().any()
    assert scores.detects(np.nextafter(0.04, 0)).all()


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


def test_concepts_come_by_their_number_of_units_and_units_by_their_agreement():
    """Units 0 and 3 draw b, 3 but a part of it; unit 1 draws x, and 2 a."""
    lit, labels = example()
    lit[:, 0], lit[:, 1], lit[:, 2] = labels[:, 0] == 1, labels[:, 1] == 3, labels[:, 0] == 0
    lit[:, 3] = (labels[:, 0] == 1) & (torch.arange(SIDE) < SIDE // 2)
    scores = Scores(tally_of(lists_of(lit), labels, UNITS, CONCEPTS), CONCEPTS)
    assert list(scores.detectors().items()) == [("b", 2), ("a", 1), ("x", 1)]
    assert scores.units_of() == {"b": [(0, 1.0), (3, scores.iou[3, 1])], "a": [(2, 1.0)], "x": [(1, 1.0)]}
    assert scores.by_category() == {"object": {"units": 3, "concepts": 2}, "colour": {"units": 1, "concepts": 1}}
    assert scores.units_of(0.9)["b"] == [(0, 1.0)]


def test_images_that_all_say_the_same_leave_no_doubt():
    """Two are enough for an interval: three of four pixels are shared in each."""
    labels = torch.full((2, 1, 2, 2), 0, dtype=torch.int16)
    lit = torch.tensor([True, True, True, False]).reshape(1, 1, 2, 2).expand(2, -1, -1, -1)
    interval = Scores(tally_of(lists_of(lit), labels, 1, Concepts.of("a")), Concepts.of("a")).interval
    assert interval.value[0, 0] == 0.75
    assert (interval.low[0, 0], interval.high[0, 0]) == pytest.approx((0.75, 0.75), abs=1e-6)


def test_no_images_give_no_agreement():
    nothing = Lit(*(torch.zeros(0, dtype=torch.int64) for _ in range(3)))
    labels = torch.full((2, 1, 4, 4), -1, dtype=torch.int16)
    scores = Scores(tally_of(nothing, labels, 2, Concepts.of("ab")), Concepts.of("ab"))
    assert (scores.iou == 0).all()
    assert (scores.q == 1).all()
    assert scores.detectors() == {}
