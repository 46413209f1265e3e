"""First-order estimates: the slopes that autograd-free differences give, and what they find."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from dissect.causes.experiment import Experiment, measure_removals
from dissect.causes.screen import first_order, screened
from dissect.sources.contract import CallableSource
from dissect.sources.towers import SegmenterSource
from rewrite import load_generator
from tests.planted_causes import CAUSES, CORRELATE, TREE, ColourSource, PlantedGenerator

LAYER = "b32.conv1"


@pytest.fixture(scope="module")
def towers() -> Experiment:
    return Experiment(load_generator("towers"), LAYER, SegmenterSource())


def test_the_estimate_is_the_slope_of_the_soft_area(towers):
    """Against a small step of one unit's strength, measured in float64-like differences of the forward pass."""
    seeds, tree = (0, 1, 2, 3), towers.source.concepts.number("tree")
    estimate = first_order(towers, [tree], seeds)[:, 0]
    prefix, step, unit = towers.prefix(seeds), 1e-2, int(estimate.abs().argmax())

    def area(strength: float) -> float:
        output = prefix.output.clone()
        output[:, unit] *= strength
        with torch.no_grad():
            logits = towers.source.logits(towers.generator.onward(LAYER, prefix.cut, output).clamp(-1, 1))
        return float(logits.softmax(dim=1)[:, tree].double().sum())

    assert float(estimate[unit]) == pytest.approx((area(1 + step) - area(1 - step)) / (2 * step), rel=0.05)


def test_the_units_that_promise_most_are_computed_exactly(towers):
    seeds, sky = tuple(range(3)), towers.source.concepts.number("sky")
    estimate = first_order(towers, [sky], seeds)
    units, exact = screened(estimate, towers, seeds, promising=5)
    assert set(units) == set(np.argsort(-estimate[:, 0].numpy(), kind="stable")[:5].tolist())
    alone = measure_removals(towers, seeds, units[2:3])
    assert torch.equal(exact.sums[:, 2:3], alone.sums)


def test_estimates_follow_exact_effects(towers):
    seeds, tree = tuple(range(3)), towers.source.concepts.number("tree")
    estimate = first_order(towers, [tree], seeds)[:, 0]
    exact = measure_removals(towers, seeds).sums[1, :, tree]
    assert spearmanr(estimate, exact)[0] > 0.5


def test_the_estimate_is_fooled_by_no_correlate():
    planted = Experiment(PlantedGenerator(), "units", ColourSource())
    estimate = first_order(planted, [CAUSES.number("tree")], range(16))[:, 0]
    assert estimate.argmax() == TREE
    assert estimate[CORRELATE] == 0


def test_a_source_without_a_gradient_is_refused():
    source = CallableSource(lambda images, numbers: torch.zeros(len(images), 4, 4).short(), CAUSES, "a function")
    with pytest.raises(ValueError, match="a function only names pixels"):
        first_order(Experiment(PlantedGenerator(), "units", source), [0], [1])
