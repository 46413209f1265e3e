"""The closed forms, against the same problems solved by other means."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewrite.solvers.algebra import Metric, directions, minimise, price, squared, truncate

few = settings(deadline=None, max_examples=25)


def normal(random: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(random.normal(size=shape))


def positive(random: np.random.Generator, size: int) -> torch.Tensor:
    samples = normal(random, size + 3, size)
    return samples.T @ samples / size + 0.1 * torch.eye(size, dtype=torch.float64)


def by_multipliers(metric, keys, residual, weights, fixed, pull) -> torch.Tensor:
    """The same problem as one linear system, in the change and in a multiplier for each protected key and output."""
    hessian, gradient = metric + keys.T @ (weights[:, None] * keys), residual.T @ (weights[:, None] * keys) + pull
    none = torch.zeros(len(fixed), len(fixed)).double()
    system = torch.cat([torch.cat([hessian, fixed.T], dim=1), torch.cat([fixed, none], dim=1)])
    right = torch.cat([gradient.T, none.new_zeros(len(fixed), len(gradient))])
    return torch.linalg.solve(system, right)[: len(hessian)].T


@st.composite
def problems(draw) -> dict:
    """Everything that `minimise` takes: any number of keys, protected keys, zero weights, a pull."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size, outputs, count = draw(st.integers(2, 6)), draw(st.integers(1, 4)), draw(st.integers(0, 9))
    weights = torch.from_numpy(random.choice([0.0, 0.3, 1.0, 10.0], size=count))
    return {
        "metric": positive(random, size),
        "keys": normal(random, count, size),
        "residual": normal(random, count, outputs),
        "weights": weights,
        "fixed": normal(random, draw(st.integers(0, size - 1)), size),
        "pull": normal(random, outputs, size) * draw(st.sampled_from([0.0, 1.0])),
    }


def solved(problem: dict) -> torch.Tensor:
    return minimise(**{**problem, "metric": Metric(problem["metric"])})


@few
@given(problems())
def test_the_solution_meets_the_conditions_of_optimality(problem):
    torch.testing.assert_close(solved(problem), by_multipliers(**problem), rtol=1e-9, atol=1e-9)


@few
@given(problems())
def test_few_keys_give_the_same_solution_as_the_same_keys_said_many_times(problem):
    """One key of weight a is many of weight a / m: enough of them take the other branch."""
    often = problem["keys"].shape[1] + 1
    repeated = {name: problem[name].repeat_interleave(often, dim=0) for name in ("keys", "residual", "weights")}
    repeated["weights"] = repeated["weights"] / often
    torch.testing.assert_close(solved(problem | repeated), solved(problem), rtol=1e-9, atol=1e-9)


@few
@given(problems())
def test_a_key_of_weight_zero_is_as_if_it_were_not_there(problem):
    used = problem["weights"] > 0
    without = {name: problem[name][used] for name in ("keys", "residual", "weights")}
    torch.testing.assert_close(solved(problem), solved(problem | without), rtol=1e-12, atol=1e-12)


def simple_problem(seed: int = 0, size: int = 5, outputs: int = 3, count: int = 4) -> dict:
    random = np.random.default_rng(seed)
    return {
        "metric": positive(random, size),
        "keys": normal(random, count, size),
        "residual": normal(random, count, outputs),
        "weights": torch.ones(count, dtype=torch.float64),
    }


def test_nothing_wanted_is_no_change():
    problem = simple_problem()
    problem["residual"] = torch.zeros_like(problem["residual"])
    assert solved(problem).abs().max() == 0


def test_protecting_a_key_twice_or_a_key_of_zeros_changes_nothing():
    problem, random = simple_problem(), np.random.default_rng(4)
    key = normal(random, 1, 5)
    once = solved(problem | {"fixed": key})
    torch.testing.assert_close(solved(problem | {"fixed": torch.cat([key, key, 0 * key])}), once, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(solved(problem | {"fixed": 0 * key}), solved(problem), rtol=1e-9, atol=1e-9)


def test_a_protected_key_is_kept_however_small_it_is():
    problem, random = simple_problem(), np.random.default_rng(3)
    large, small = normal(random, 1, 5), normal(random, 1, 5)
    change = solved(problem | {"fixed": torch.cat([large, 1e-9 * small])})
    assert (change @ torch.cat([large, small]).T).abs().max() < 1e-9 * change.norm()


def test_protecting_every_direction_leaves_no_change():
    problem = simple_problem()
    assert solved(problem | {"fixed": torch.eye(5, dtype=torch.float64)}).abs().max() < 1e-9


def test_protected_keys_that_are_nearly_parallel_are_both_kept():
    """They differ by a thousandth: each must be met, not one for both."""
    problem, random = simple_problem(), np.random.default_rng(3)
    key, aside = normal(random, 1, 5), normal(random, 1, 5)
    fixed = torch.cat([key, key + 1e-3 * aside])
    change = solved(problem | {"fixed": fixed})
    assert (change @ aside.T).abs().max() < 1e-6 * change.norm()
    assert (change @ key.T).abs().max() < 1e-9 * change.norm()


def test_rome_and_emmet_are_the_limit_of_heavy_weights():
    """Meng et al. 2022, eq. 2, and Gupta et al. 2024: Δ = R (Kᵀ C⁻¹ K)⁻¹ Kᵀ C⁻¹, keys as columns; one in ROME."""
    random = np.random.default_rng(6)
    for count in (1, 3):
        moment, keys, residual = positive(random, 6), normal(random, count, 6), normal(random, count, 4)
        reached = keys @ torch.linalg.inv(moment)
        expected = residual.T @ torch.linalg.inv(reached @ keys.T) @ reached
        found = minimise(Metric(moment), keys, residual, torch.full((count,), 1e10).double())
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("count", [3, 9])
def test_memit_is_soft_edits_in_the_metric_of_the_second_moment(count):
    """Meng et al. 2023, eq. 14: Δ = R Kᵀ (λ C + K Kᵀ)⁻¹ with keys as columns."""
    problem = simple_problem(7, size=6, count=count)
    keys, residual = problem["keys"], problem["residual"]
    expected = residual.T @ keys @ torch.linalg.inv(0.5 * problem["metric"] + keys.T @ keys)
    found = solved(problem | {"metric": 0.5 * problem["metric"]})
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_alphaedit_is_soft_edits_with_protected_keys_and_a_plain_metric():
    """Fang et al. 2025: Δ = R Kᵀ P (K Kᵀ P + I)⁻¹ with P the projector off the protected keys."""
    random = np.random.default_rng(8)
    keys, residual, kept = normal(random, 3, 6), normal(random, 3, 4), normal(random, 2, 6)
    identity = torch.eye(6, dtype=torch.float64)
    away = identity - torch.linalg.pinv(kept) @ kept
    expected = residual.T @ keys @ away @ torch.linalg.inv(keys.T @ keys @ away + identity)
    found = minimise(Metric(identity), keys, residual, torch.ones(3).double(), fixed=kept)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_price_is_the_energy_of_the_change_over_the_keys():
    random = np.random.default_rng(9)
    keys, change = normal(random, 30, 4), normal(random, 3, 4)
    assert price(change, keys.T @ keys) == pytest.approx(float((keys @ change.T).square().sum()))


@pytest.mark.parametrize("by_column", [False, True])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (3, 2), (2, 5)])
def test_each_row_times_each_other_is_found_however_they_lie_in_memory_and_also_of_none(shape, by_column, capfd):
    rows = normal(np.random.default_rng(13), *shape)
    torch.testing.assert_close(squared(rows.T.contiguous().T if by_column else rows), rows @ rows.T)
    # BLAS itself would write a complaint about nothing.
    assert capfd.readouterr() == ("", "")


def distance(change: torch.Tensor, aim: torch.Tensor, metric: torch.Tensor) -> float:
    return price(change - aim, metric)


def alternating(aim: torch.Tensor, metric: torch.Tensor, rank: int, random: np.random.Generator) -> torch.Tensor:
    """A change of low rank by alternating least squares, which knows nothing of singular values."""
    right = normal(random, rank, aim.shape[1])
    for _ in range(200):
        left = aim @ metric @ right.T @ torch.linalg.inv(right @ metric @ right.T)
        right = torch.linalg.inv(left.T @ left) @ left.T @ aim
    return left @ right


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_truncated_change_is_as_good_as_alternating_least_squares_and_better_than_any_guess(rank):
    random = np.random.default_rng(rank)
    metric, aim = positive(random, 6), normal(random, 4, 6)
    found = truncate(aim, Metric(metric), rank)
    assert torch.linalg.matrix_rank(found) == rank
    reached = distance(found, aim, metric)
    assert reached == pytest.approx(distance(alternating(aim, metric, rank, random), aim, metric), rel=1e-6)
    for _ in range(30):
        left = normal(random, 4, rank)
        guess = left @ torch.linalg.pinv(left) @ aim
        assert reached <= distance(guess, aim, metric) * (1 + 1e-9)
        near = found + 0.01 * normal(random, 4, rank) @ normal(random, rank, 6)
        assert reached <= distance(truncate(near, Metric(torch.eye(6).double()), rank), aim, metric) * (1 + 1e-9)


def test_a_change_of_full_rank_is_not_truncated():
    random = np.random.default_rng(10)
    aim = normal(random, 4, 6)
    torch.testing.assert_close(truncate(aim, Metric(positive(random, 6)), 4), aim)


@few
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_protected_keys_stay_protected_when_the_change_is_truncated(seed, rank):
    problem, kept = simple_problem(seed, size=6), normal(np.random.default_rng(seed), 2, 6)
    metric = Metric(problem["metric"]).with_keys(problem["keys"], problem["weights"])
    change = truncate(solved(problem | {"fixed": kept}), metric, rank)
    assert (change @ kept.T).abs().max() < 1e-9


@pytest.mark.parametrize("rank", [0, 4])
def test_a_rank_that_no_change_has_is_refused(rank):
    change = torch.zeros(3, 5, dtype=torch.float64)
    with pytest.raises(ValueError, match=f"rank must lie between 1 and 3, got {rank}"):
        truncate(change, Metric(torch.eye(5).double()), rank)


def test_the_direction_of_one_key_is_the_key_in_the_inverse_second_moment():
    random = np.random.default_rng(11)
    moment, key = positive(random, 5), normal(random, 1, 5)
    expected = torch.linalg.inv(moment) @ key[0]
    torch.testing.assert_close(directions(key, Metric(moment), 1)[0], expected / expected.norm())


@few
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_directions_are_orthonormal_and_span_the_top_generalised_eigenvectors(seed, rank):
    random = np.random.default_rng(seed)
    moment, context = positive(random, 5), normal(random, 4, 5)
    rows = directions(context, Metric(moment), rank)
    torch.testing.assert_close(rows @ rows.T, torch.eye(rank, dtype=torch.float64))
    top = scipy.linalg.eigh((context.T @ context).numpy(), moment.numpy())[1][:, ::-1][:, :rank].copy()
    span = torch.from_numpy(top @ np.linalg.pinv(top))
    torch.testing.assert_close(rows.T @ rows, span, rtol=1e-6, atol=1e-6)
    assert ((context @ rows.T).sum(dim=0) >= 0).all()


@pytest.mark.parametrize("rank", [0, 3])
def test_more_directions_than_the_context_has_are_refused(rank):
    random = np.random.default_rng(12)
    context = normal(random, 2, 5)
    with pytest.raises(ValueError, match=f"between 1 and 2, the number of directions of the context, got {rank}"):
        directions(torch.cat([context, context]), Metric(positive(random, 5)), rank)


def test_a_direction_that_no_sample_has_gets_a_ridge_of_rounding_size():
    metric = Metric(torch.diag(torch.tensor([1.0, 2.0, 0.0])).double())
    rows = torch.tensor([[3.0, 4.0, 0.0]]).double()
    torch.testing.assert_close(metric.solve(rows), torch.tensor([[3.0, 2.0, 0.0]]).double(), rtol=1e-9, atol=1e-9)
    assert metric.solve(torch.eye(3).double())[2, 2] == pytest.approx(1e12)


@pytest.mark.parametrize("matrix", [torch.zeros(3, 3), -torch.eye(3), torch.full((3, 3), float("nan"))])
def test_a_singular_metric_is_refused_with_advice(matrix):
    with pytest.raises(ValueError, match="the second moment is singular: measure more samples"):
        Metric(matrix.double()).solve(torch.ones(1, 3).double())


def test_whitened_keys_have_the_lengths_of_the_inverse_metric():
    random = np.random.default_rng(14)
    moment, keys = positive(random, 4), normal(random, 6, 4)
    expected = ((keys @ torch.linalg.inv(moment)) * keys).sum(dim=1)
    torch.testing.assert_close(Metric(moment).whiten(keys).square().sum(dim=1), expected)
