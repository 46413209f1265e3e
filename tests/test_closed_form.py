"""What the solver delivers, against the same problems written out and minimised by other means."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from torch import Tensor

from rewrite.generators.layers import Layer
from rewrite.goals.goal import Goal
from rewrite.goals.keys import Keys
from rewrite.rules.settings import Settings
from rewrite.solvers import closed_form
from rewrite.solvers.closed_form import ClosedForm
from rewrite.solvers.problem import HEAVY, Problem
from rewrite.solvers.trial import Trial


def random_problem(
    seed: int = 0,
    *,
    modulated: bool = False,
    inputs: int = 4,
    outputs: int = 3,
    groups: int = 1,
    images: int = 3,
    negatives: int = 6,
    protected: int = 2,
    **settings,
) -> Problem:
    """A problem of a layer with two taps: five wanted keys of unequal weights, hard negatives and protected keys."""
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(random.normal(size=shape))

    layer = Layer("l", "w", "convolution", inputs, outputs, (8, 8), (1, 2), groups=groups, modulated=modulated)
    matrix, samples = normal(outputs, layer.width // groups), normal(100, layer.width)
    styles = (1 + 0.3 * normal(images, inputs)) * normal(images, 1).mul(0.4).exp()
    styles = styles if modulated else styles[:, :0]
    first, settings = factor_of(layer, matrix, styles), Settings(**settings)

    def keys(count: int, total: float) -> Keys:
        read, image = normal(count, layer.width), torch.from_numpy(random.integers(images, size=count))
        written, share = layer.values(read, matrix) * first[image], torch.from_numpy(random.uniform(0.5, 2, size=count))
        return Keys(read, written, share * (total / share.sum()), image, torch.zeros_like(written), torch.arange(count))

    wanted = keys(5, 1.0)
    goal = Goal(
        wanted=wanted,
        targets=wanted.values + normal(5, outputs),
        others=keys(negatives, settings.others),
        protected=keys(protected, 1.0),
        context=wanted.keys[:, : layer.width // groups],
        styles=styles,
    )
    moment, power = samples.T @ samples / 100, 1 + normal(inputs).square()
    return Problem(layer, matrix, moment, power, goal, settings, activate=lambda x: x)


def factor_of(layer: Layer, matrix: Tensor, styles: Tensor) -> Tensor:
    """The demodulation of each image, written out."""
    if not layer.modulated:
        return torch.ones(len(styles), len(matrix)).double()
    scaled = matrix.reshape(len(matrix), layer.inputs, -1) * styles[:, None, :, None]
    return (scaled.square().sum(dim=(2, 3)) + 1e-8) ** -0.5


def factor_after(problem: Problem, change: Tensor | float) -> Tensor:
    """The demodulation of each image of a problem after a change; 0 for none."""
    return factor_of(problem.layer, problem.matrix + change, problem.goal.styles)


def objective(problem: Problem, change: Tensor, held: Tensor | None = None) -> Tensor:
    """What the solver lowers, written out; with a demodulation that is held, a sum of squares."""
    goal, settings, edited = problem.goal, problem.settings, problem.matrix + change
    first = factor_after(problem, 0)
    factor = factor_after(problem, change) if held is None else held

    def missed(keys: Keys, wanted: Tensor) -> Tensor:
        written = problem.layer.values(keys.keys, edited) * factor[keys.image]
        return (keys.weights * (written - wanted).square().sum(dim=1)).sum()

    protect = HEAVY if settings.protect == math.inf else settings.protect
    total = missed(goal.wanted, goal.targets) + missed(goal.others, goal.others.values)
    total = total + protect * missed(goal.protected, goal.protected.values)
    moved = factor.mean(dim=0)[:, None] * edited - first.mean(dim=0)[:, None] * problem.matrix
    power = torch.repeat_interleave(problem.style_power, problem.layer.taps)
    for rows, columns in problem.layer.blocks():
        damage = torch.einsum("oi,ij,oj->", moved[rows], problem.moment[columns, columns], moved[rows])
        drift = ((first.mean(dim=0)[:, None] * change)[rows].square() * power[columns]).sum()
        total = total + settings.damage * damage + settings.drift * drift
    return total


def lowest(function: Callable[[Tensor], Tensor], start: Tensor) -> tuple[float, Tensor]:
    """The least value that L-BFGS finds, and where."""

    def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.from_numpy(flat).reshape(start.shape).requires_grad_()
        value = function(at)
        return float(value.detach()), torch.autograd.grad(value, at)[0].numpy().ravel()

    found = scipy.optimize.minimize(
        value_and_slope,
        start.numpy().ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxcor": 50, "maxiter": 5000, "ftol": 1e-16, "gtol": 1e-9},
    )
    return found.fun, torch.from_numpy(found.x).reshape(start.shape)


def by_rank(problem: Problem, change: Tensor, rank: int) -> Tensor:
    """The change of a rank nearest to another, counted in what the layer writes (Eckart and Young), in numpy."""
    wanted, weight = problem.goal.wanted.keys, problem.goal.wanted.weights
    price = problem.settings.damage * problem.moment
    price = price + torch.diag(problem.settings.drift * torch.repeat_interleave(problem.style_power, 2))
    for keys, factor in ((problem.goal.others, 1.0), (problem.goal.protected, problem.protect)):
        price = price + factor * keys.keys.T @ (keys.weights[:, None] * keys.keys)
    root = np.linalg.cholesky((price + wanted.T @ (weight[:, None] * wanted)).numpy())
    scale = factor_after(problem, 0).mean(dim=0).numpy()[:, None]
    left, sizes, right = np.linalg.svd(scale * change.numpy() @ root)
    nearest = (left[:, :rank] * sizes[:rank]) @ right[:rank] @ np.linalg.inv(root) / scale
    return torch.from_numpy(nearest)


NOTHING_KEPT = {"negatives": 0, "protected": 0}
PLAIN = [
    {},
    NOTHING_KEPT,
    {"protect": 10.0},
    {"others": 0.0, "damage": 1.0},
    {"drift": 0.0},
    {"groups": 2, "outputs": 4},
]
MODULATED = [{"modulated": True}, {"modulated": True, "protect": 10.0}, {"modulated": True, "others": 10.0}]


@pytest.mark.parametrize("parts", PLAIN + MODULATED + [{"modulated": True, "protect": math.inf}], ids=str)
def test_the_objective_is_the_sum_that_its_docstring_says(parts):
    problem = random_problem(**parts)
    for size in (0.0, 0.1, 1.0):
        change = size * torch.randn(problem.matrix.shape, generator=torch.Generator().manual_seed(1)).double()
        assert Trial(problem, change).objective == pytest.approx(float(objective(problem, change)), rel=1e-12)


def test_what_is_said_of_a_change_does_not_depend_on_the_size_of_what_the_layer_writes():
    problem = random_problem(10, protect=3.0)
    change = 0.1 * problem.matrix + 0.1
    said = Trial(problem, change).solution()
    for size in (1e-6, 1e6):
        goal = problem.goal
        parts = {name: getattr(goal, name) for name in ("wanted", "others", "protected")}
        scaled = {name: replace(keys, values=size * keys.values) for name, keys in parts.items()}
        goal = replace(goal, targets=size * goal.targets, **scaled)
        other = Trial(replace(problem, matrix=size * problem.matrix, goal=goal), size * change).solution()
        assert (other.residual, other.damage, other.drift) == pytest.approx((said.residual, said.damage, said.drift))
        assert other.interference == pytest.approx(said.interference)


def test_of_a_layer_that_writes_nothing_and_is_to_write_nothing_there_is_nothing_to_say():
    problem = random_problem(negatives=0, protected=0)
    goal, nothing = problem.goal, torch.zeros_like(problem.matrix)
    silent = replace(goal, targets=0 * goal.targets, wanted=replace(goal.wanted, values=0 * goal.wanted.values))
    said = Trial(replace(problem, matrix=nothing, goal=silent), nothing).solution()
    assert (said.residual, said.damage, said.drift, said.interference) == (0.0, 0.0, 1.0, {})


@pytest.mark.parametrize("parts", PLAIN, ids=str)
def test_the_solution_of_a_plain_layer_is_the_lowest_of_the_objective(parts):
    problem = random_problem(1, **parts)
    solution = ClosedForm(problem).solve()
    value, change = lowest(lambda change: objective(problem, change), torch.zeros_like(problem.matrix))
    assert solution.objective[-1] == pytest.approx(value, rel=1e-10)
    assert (solution.change - change).norm() < 1e-5 * change.norm()


@pytest.mark.parametrize(("rank", "protected"), [(None, 1), (None, 2), (1, 2)])
def test_with_exact_protection_it_is_the_lowest_of_those_that_keep_the_protected_values(rank, protected):
    problem = random_problem(2, protect=math.inf, rank=rank, protected=protected)
    free = torch.from_numpy(scipy.linalg.null_space(problem.goal.protected.keys.numpy()))
    rows = free.shape[1] if rank is None else rank
    start = torch.from_numpy(np.random.default_rng(0).normal(size=(problem.layer.outputs + free.shape[1], rows)))

    def spread(factors: Tensor) -> Tensor:
        left, right = factors.split([problem.layer.outputs, free.shape[1]])
        return left @ right.T @ free.T

    value, _ = lowest(lambda factors: objective(problem, spread(factors)), start)
    solution = ClosedForm(problem).solve()
    assert solution.objective[-1] == pytest.approx(value, rel=1e-8)
    assert solution.interference["protected"] < 1e-10


def test_exact_protection_confines_a_change_only_where_something_is_protected():
    free, confined = (random_problem(protect=math.inf, protected=count, finish=5, descent=5) for count in (0, 1))
    assert (free.exact, free.finishes, free.descends) == (False, True, True)
    assert (confined.exact, confined.finishes, confined.descends) == (True, False, False)


@pytest.mark.parametrize("parts", [{}, {"protect": 10.0}], ids=str)
@pytest.mark.parametrize("rank", [1, 2])
def test_a_plain_layers_patch_of_a_rank_is_the_lowest_of_that_rank(parts, rank):
    """What a change costs above the lowest is its distance from there in the metric of the objective."""
    problem = random_problem(3, rank=rank, **parts)
    _, change = lowest(lambda change: objective(problem, change), torch.zeros_like(problem.matrix))
    found = ClosedForm(problem).solve()
    assert found.objective[-1] == pytest.approx(float(objective(problem, by_rank(problem, change, rank))), rel=1e-8)
    assert torch.linalg.matrix_rank(found.change) == rank


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_change_is_truncated_to_the_nearest_of_a_rank_in_what_the_layer_writes(modulated, rank):
    problem = random_problem(4, modulated=modulated, protect=3.0, rank=rank)
    problem = with_rows_scaled(problem, torch.tensor([1.0, 30.0, 0.1]).double())
    change = problem.matrix * torch.from_numpy(np.random.default_rng(0).normal(size=problem.matrix.shape))
    found = ClosedForm(problem).blocks[0].truncate(change)
    torch.testing.assert_close(found, by_rank(problem, change, rank), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("protect", [1.0, math.inf])
def test_a_patch_that_fires_on_the_context_is_the_lowest_of_those_within_its_rows(modulated, protect):
    problem = random_problem(5, modulated=modulated, images=1, protect=protect, rank=3, constraint="fires")
    solver = ClosedForm(problem)
    if modulated:
        held = factor_after(problem, 0)
        free, found = solver.rows, solver.blocks[0].step(Trial(problem, torch.zeros_like(problem.matrix))).change
    else:
        held, found, free = None, solver.solve().change, solver.rows
        if protect == math.inf:
            free = torch.from_numpy(scipy.linalg.null_space((problem.goal.protected.keys @ free.T).numpy())).T @ free
    value, factors = lowest(
        lambda factors: objective(problem, factors @ free, held), torch.zeros(problem.layer.outputs, len(free)).double()
    )
    assert float(objective(problem, found, held)) == pytest.approx(value, rel=1e-10)
    assert (found - factors @ free).norm() < 1e-5 * found.norm()


def test_a_step_of_one_unit_is_the_lowest_while_the_demodulation_of_each_image_is_held():
    """Images of unlike styles: a key counts by the square of its image's demodulation."""
    problem = random_problem(6, modulated=True, outputs=1, images=5, negatives=0, protected=0)
    held = factor_after(problem, 0)
    assert held.max() > 1.5 * held.min()
    _, change = lowest(lambda change: objective(problem, change, held), torch.zeros_like(problem.matrix))
    found = ClosedForm(problem).blocks[0].step(Trial(problem, torch.zeros_like(problem.matrix))).change
    assert (found - change).norm() < 1e-5 * change.norm()


@pytest.mark.parametrize("confined", [{}, {"rank": 3, "constraint": "fires"}], ids=str)
def test_a_step_for_units_of_one_image_is_the_lowest_while_the_demodulation_is_held_after_it_moved(confined):
    """Without drift, which is counted at the first demodulation."""
    problem = random_problem(7, modulated=True, images=1, protect=3.0, drift=0.0, **confined)
    moved, solver = 0.5 * problem.matrix, ClosedForm(problem)
    held, free = factor_after(problem, moved), torch.eye(problem.layer.width).double() if not confined else solver.rows
    start = torch.zeros(len(moved), len(free)).double()
    _, factors = lowest(lambda factors: objective(problem, factors @ free, held), start)
    found = solver.blocks[0].step(Trial(problem, moved)).change
    assert (found - factors @ free).norm() < 1e-5 * found.norm()


def with_rows_scaled(problem: Problem, scale: Tensor) -> Problem:
    """The same problem with rows of the weight scaled, which demodulation undoes (but for its epsilon)."""
    return replace(problem, matrix=problem.matrix * scale[:, None])


@pytest.mark.parametrize("protect", [2.0, math.inf])
@pytest.mark.parametrize("changes", [{}, {"rank": 1}, {"rank": 2, "constraint": "fires"}], ids=str)
def test_the_scale_of_a_units_weight_does_not_matter_where_demodulation_undoes_it(changes, protect):
    if protect == math.inf and "constraint" in changes:
        changes = {**changes, "rank": 5}
    scale = torch.tensor([1.0, 50.0, 0.2]).double()
    problem = random_problem(8, modulated=True, protect=protect, **changes)
    solution = ClosedForm(problem).solve()
    scaled = ClosedForm(with_rows_scaled(problem, scale)).solve()
    assert solution.objective[-1] < solution.objective[0]
    torch.testing.assert_close(scaled.change / scale[:, None], solution.change, rtol=1e-4, atol=1e-5)
    assert scaled.objective == pytest.approx(solution.objective, rel=1e-5)


WIDE = {"modulated": True, "inputs": 24, "outputs": 4, "images": 8, "others": 30.0, "damage": 0.01, "drift": 0.01}


def test_steps_end_where_the_next_would_gain_less_than_a_thousandth_and_near_the_lowest(monkeypatch):
    problem = random_problem(steps=30, **WIDE)
    solution = ClosedForm(problem).solve()
    with monkeypatch.context() as changed:
        changed.setattr(closed_form, "ENOUGH", 0)
        every = ClosedForm(problem).solve().objective
    count = len(solution.objective)
    assert solution.objective == every[:count]
    gains = [1 - later / earlier for earlier, later in pairwise(every)]
    assert 3 < count < 30
    assert min(gains[: count - 1]) >= 1e-3 > gains[count - 1]
    # The slope of the demodulation is no part of a step, so that the lowest is not reached, on a wide layer nearly.
    value, _ = lowest(lambda change: objective(problem, change), solution.change)
    assert solution.objective[-1] - value < 0.01 * solution.objective[0]


def test_no_more_steps_are_taken_than_the_settings_say():
    for steps in (1, 2):
        assert len(ClosedForm(random_problem(steps=steps, **WIDE)).solve().objective) == 1 + steps


def test_a_channel_direction_is_the_context_in_the_second_moment_with_a_ridge():
    """One percent of the mean energy: a channel that is hardly ever used must not be the whole direction."""
    energy = torch.tensor([1.0, 2.0, 1e-7, 3.0]).double()
    problem = random_problem(9, key_space="channel", constraint="fires", rank=1)
    context, moment = problem.goal.context[:1], torch.diag(energy.repeat_interleave(2))
    problem = replace(problem, moment=moment, goal=replace(problem.goal, context=context))
    mixture = context[0, 1::2] / (energy + 0.01 * energy.mean())
    expected = torch.kron(mixture / mixture.norm(), torch.eye(2).double())
    torch.testing.assert_close(ClosedForm(problem).rows, expected.reshape(2, 8))
