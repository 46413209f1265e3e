"""Quantiles in bounded memory, against sorting."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dissect.units.sketch import LARGEST, RELATIVE_ERROR, SMALLEST, QuantileSketch, bins_of, upper_limits

STREAMS = {
    "sorted": np.sort(np.random.default_rng(0).standard_normal(5000)),
    "falling": np.sort(np.random.default_rng(0).standard_normal(5000))[::-1],
    "constant": np.full(5000, 3.7),
    "zero nearly everywhere": np.where(np.arange(5000) % 300 == 0, 2.5, 0.0),
    "heavy tails": np.random.default_rng(1).standard_cauchy(5000).clip(-1e5, 1e5),
    "all negative": -np.random.default_rng(2).lognormal(0, 3, 5000),
    "two far clusters": np.r_[np.full(4950, 1e-3), np.full(50, 1e4)],
}


def exact_level(values: np.ndarray, tail: float) -> float:
    """The smallest of the values above which at most this share lies: by sorting them all."""
    ordered = np.sort(values)
    above = len(ordered) - np.searchsorted(ordered, ordered, side="right")
    return ordered[np.argmax(above <= tail * len(ordered))]


def sketch_of(*rows: np.ndarray) -> QuantileSketch:
    values = torch.from_numpy(np.stack(rows).astype(np.float32))
    return QuantileSketch.empty(len(rows)).seeing(values)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("tail", [0.5, 0.1, 0.01, 0.001])
def test_the_stated_error_holds_on_hostile_streams(stream, tail):
    values = STREAMS[stream].astype(np.float32)
    level, exact = sketch_of(values).level(tail).item(), exact_level(values, tail)
    assert exact <= level <= exact + max(RELATIVE_ERROR * abs(exact), SMALLEST)
    assert np.mean(values > level) <= tail


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(-1e5, 1e5, width=32)),
    st.sampled_from([0.3, 0.05, 0.004]),
)
def test_the_stated_error_holds_on_any_stream(values, tail):
    level, exact = sketch_of(values).level(tail).item(), exact_level(values, tail)
    assert exact <= level <= exact + max(RELATIVE_ERROR * abs(exact), SMALLEST)


def test_the_share_above_a_level_is_exact():
    values = np.random.default_rng(3).standard_normal((4, 9001)).astype(np.float32)
    sketch = sketch_of(*values)
    levels = sketch.level(0.02)
    counted = (torch.from_numpy(values) > levels[:, None]).double().mean(dim=1)
    assert torch.equal(sketch.share_above(levels), counted.float())


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 11))
def test_order_and_parts_change_nothing(order, cut):
    values = torch.randn(3, 12, 50, generator=torch.Generator().manual_seed(0))
    whole = QuantileSketch.empty(3).seeing(values.flatten(1))
    parts = [QuantileSketch.empty(3), QuantileSketch.empty(3)]
    for place, number in enumerate(order):
        parts[place < cut] = parts[place < cut].seeing(values[:, number])
    assert torch.equal((parts[0] + parts[1]).counts, whole.counts)


def test_bins_and_their_limits_are_inverse_to_the_bit():
    bins = bins_of(torch.tensor([0.0]))[0]
    numbers = torch.arange(int(2 * bins))
    limits = upper_limits(numbers)
    assert torch.equal(bins_of(limits), numbers)
    assert torch.equal(bins_of(torch.nextafter(limits, torch.tensor(torch.inf))), numbers + 1)


def test_memory_does_not_grow_with_the_stream():
    sketch = QuantileSketch.empty(2)
    size = sketch.counts.numel()
    for start in range(20):
        sketch = sketch.seeing(torch.randn(2, 1000, generator=torch.Generator().manual_seed(start)) * 10.0**start)
    assert sketch.counts.numel() == size
    assert sketch.counts.sum() == 40_000


def test_values_beyond_the_largest_are_counted_but_no_level_lies_there():
    sketch = sketch_of(np.array([1.0, 2.0, 4 * LARGEST, 8 * LARGEST], dtype=np.float32))
    assert sketch.level(0.5).item() == pytest.approx(2.0, rel=RELATIVE_ERROR)
    assert sketch.level(0.25).item() == np.inf


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_activations_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="must be finite"):
        sketch_of(np.array([1.0, value], dtype=np.float32))


@pytest.mark.parametrize("tail", [0.0, 1.0, -0.1])
def test_a_tail_outside_0_to_1_is_refused(tail):
    with pytest.raises(ValueError, match="between 0 and 1"):
        sketch_of(np.ones(3)).level(tail)


def test_a_level_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        QuantileSketch.empty(2).level(0.01)
