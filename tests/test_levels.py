"""Levels are exact quantiles, whatever the scale and the offset of a unit, against sorting."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dissect.units.levels import Greatest, above_level

STREAMS = {
    "sorted": np.sort(np.random.default_rng(0).standard_normal(5000)),
    "constant": np.full(5000, 3.7),
    "zero nearly everywhere": np.where(np.arange(5000) % 300 == 0, 2.5, 0.0),
    "heavy tails": np.random.default_rng(1).standard_cauchy(5000),
    "all negative": -np.random.default_rng(2).lognormal(0, 3, 5000),
    "two far clusters": np.r_[np.full(4950, 1e-3), np.full(50, 1e4)],
}


def exact_level(values: np.ndarray, tail: float) -> float:
    """The smallest of the values above which at most this share lies: by sorting them all."""
    ordered = np.sort(values)
    above = len(ordered) - np.searchsorted(ordered, ordered, side="right")
    return ordered[np.argmax(above <= tail * len(ordered))]


def greatest_of(*rows: np.ndarray, tail: float) -> Greatest:
    values = torch.from_numpy(np.stack(rows).astype(np.float32))
    return Greatest.empty(len(rows), above_level(tail, values.shape[1]) + 1).seeing(values)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("tail", [0.5, 0.1, 0.01, 0.001])
def test_a_level_is_exact_on_hostile_streams(stream, tail):
    values = STREAMS[stream].astype(np.float32)
    assert greatest_of(values, tail=tail).level(tail).item() == exact_level(values, tail)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(-1e5, 1e5, width=32)),
    st.sampled_from([0.3, 0.05, 0.004]),
)
def test_a_level_is_exact_on_any_stream(values, tail):
    assert greatest_of(values, tail=tail).level(tail).item() == exact_level(values, tail)


def test_increasing_copies_of_a_unit_light_the_same_pixels():
    r = np.random.default_rng(5).standard_normal(4000).astype(np.float32)
    rows = np.stack([r, 100 + r, 100 + 0.05 * r, 1e-8 * r, 2e6 * (r + 1), np.exp(r)]).astype(np.float32)
    levels = greatest_of(*rows, tail=0.02).level(0.02)
    lit = torch.from_numpy(rows) > levels[:, None]
    assert lit[0].sum() == 80
    # Two values that float32 cannot tell apart so far from zero may fall on one side.
    assert all((each ^ lit[0]).sum() <= 2 for each in lit)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 11))
def test_order_and_parts_change_nothing(order, cut):
    values = torch.randn(3, 12, 50, generator=torch.Generator().manual_seed(0))
    whole = Greatest.empty(3, 31).seeing(values.flatten(1))
    parts = [Greatest.empty(3, 31), Greatest.empty(3, 31)]
    for place, number in enumerate(order):
        parts[place < cut] = parts[place < cut].seeing(values[:, number])
    both = parts[0] + parts[1]
    assert both.seen == whole.seen == 600
    assert torch.equal(both.values.sort(dim=1).values, whole.values.sort(dim=1).values)
    assert torch.equal(both.level(0.05), whole.level(0.05))


def test_a_level_that_leaves_far_fewer_lit_than_asked_is_noticed():
    values = np.random.default_rng(3).standard_normal(1000)
    found = greatest_of(values, values.clip(max=1.0), np.zeros(1000), tail=0.05)
    assert found.far_fewer(0.05).tolist() == [False, True, True]
    assert found.share_above(found.level(0.05)).tolist() == pytest.approx([0.05, 0, 0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_activations_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="must be finite"):
        greatest_of(np.array([1.0, value]), tail=0.1)


@pytest.mark.parametrize("tail", [0.0, 1.0, -0.1])
def test_a_tail_outside_0_to_1_is_refused(tail):
    with pytest.raises(ValueError, match="between 0 and 1"):
        greatest_of(np.ones(3), tail=0.5).level(tail)


def test_a_level_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        Greatest.empty(2, 5).level(0.01)
    with pytest.raises(ValueError, match="takes 51 values of a row, 11 are kept"):
        greatest_of(np.arange(100.0), tail=0.1).level(0.5)
