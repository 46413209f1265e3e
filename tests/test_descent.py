"""The descent reports what it delivers, and the polish never makes a solution worse."""

import numpy as np
import pytest
import torch

from apps.bench.descent import activation_loss, paper_descent
from benchmarks.polish import _Within, polish
from rewrite import Latent, Mask, Region, Rule, Settings, measure
from rewrite.goals.goal import build_goal
from rewrite.solvers.closed_form import ClosedForm
from rewrite.solvers.problem import Problem
from rewrite.solvers.trial import Trial


def square(top: int, left: int) -> Mask:
    array = np.zeros((16, 16), dtype=bool)
    array[top : top + 6, left : left + 6] = True
    return Mask.from_array(array)


@pytest.fixture(params=["b8.conv1", "b16.conv0", "b16.torgb"])
def problem(request, tiny_generator) -> Problem:
    rule = Rule(
        name="shift",
        model=tiny_generator.fingerprint,
        layer=request.param,
        copy=(Region(Latent(1), square(4, 4)),),
        context=tuple(Region(Latent(seed), square(4, 8)) for seed in (2, 3, 4)),
        fit="none",
        settings=Settings(rank=1, constraint="fires", damage=0.01),
    )
    memory = measure(tiny_generator, request.param, 64)
    return Problem.of(tiny_generator, memory, build_goal(tiny_generator, rule), rule.settings)


@pytest.mark.parametrize("squared", [False, True])
def test_the_loss_is_that_of_the_edited_layers_own_output(tiny_generator, squared):
    layer, name = tiny_generator.layer("b8.conv1"), "b8.conv1"
    place = Region(Latent(2), square(4, 8))  # six pixels wide: whole cells of the 8x8 grid
    copy = Region(Latent(1), square(4, 8))
    rule = Rule("r", tiny_generator.fingerprint, name, context=(place,), copy=(copy,), fit="none", settings=Settings())
    memory = measure(tiny_generator, name, 32)
    problem = Problem.of(tiny_generator, memory, build_goal(tiny_generator, rule), rule.settings)
    change = 0.3 * torch.randn_like(problem.matrix)

    source, target = (tiny_generator.cut(name, tiny_generator.latents([seed])) for seed in (1, 2))
    plain = tiny_generator.weight(name)
    edited = (plain.double() + layer.weight_from(change)).float()

    def output(cut, weight):
        factor = tiny_generator.demodulation(name, cut.style, weight)
        return tiny_generator.finish(name, target, layer.apply(cut.features, weight), factor)[0, :, 2:5, 4:7]

    # What is wanted has the values of the copy and the noise of the place.
    difference = output(target, edited) - output(source, plain)
    expected = difference.square().mean() if squared else difference.abs().mean()
    loss = activation_loss(problem, squared=squared)(change)
    torch.testing.assert_close(loss.float(), expected, rtol=1e-4, atol=1e-5)


def test_the_delivered_change_lies_in_the_rows_and_has_the_loss_that_is_told(problem):
    loss, rows = activation_loss(problem), ClosedForm(problem).rows
    result = paper_descent(len(problem.matrix), loss, rows, steps=31)
    torch.testing.assert_close(result.change @ rows.T @ rows, result.change, rtol=1e-4, atol=1e-5)
    assert result.loss == pytest.approx(float(loss(result.change)), rel=1e-4)


@pytest.mark.parametrize("squared", [False, True])
def test_polishing_never_ends_above_its_start_and_stays_in_the_row_space(problem, squared):
    loss, start = activation_loss(problem, squared=squared), ClosedForm(problem).solve().change
    result = polish(problem, start, squared=squared)
    assert float(loss(result)) < float(loss(start))
    joined = torch.linalg.matrix_rank(torch.cat([start, result]), rtol=1e-7)
    assert joined == torch.linalg.matrix_rank(start, rtol=1e-7)
    assert torch.equal(polish(problem, torch.zeros_like(start), squared=squared), torch.zeros_like(start))


@pytest.mark.parametrize("squared", [False, True])
def test_polishing_stops_at_the_damage_that_is_allowed(problem, squared):
    loss, solution = activation_loss(problem, squared=squared), ClosedForm(problem).solve()
    free = polish(problem, solution.change, squared=squared)
    most = (solution.damage + Trial(problem, free).solution().damage) / 2
    bounded = polish(problem, solution.change, squared=squared, most_damage=most)
    assert Trial(problem, bounded).solution().damage <= most
    assert float(loss(free)) <= float(loss(bounded)) * 1.001
    assert float(loss(bounded)) <= float(loss(torch.zeros_like(free)))


@pytest.mark.parametrize("squared", [False, True])
def test_the_polish_has_no_higher_loss_than_the_descent_at_no_more_damage(problem, squared):
    loss, solver = activation_loss(problem, squared=squared), ClosedForm(problem)
    descent = paper_descent(len(problem.matrix), loss, solver.rows, steps=401)
    most = Trial(problem, descent.change).solution().damage
    polished = polish(problem, solver.solve().change, squared=squared, most_damage=most)
    assert float(loss(polished)) <= descent.loss
    assert Trial(problem, polished).solution().damage <= most


@pytest.mark.parametrize("squared", [False, True])
def test_the_polish_knows_its_losses_and_damages_and_their_slopes(problem, squared):
    """Against the loss of the descent and the damage of the solver, differentiated by autograd."""
    rows, start = ClosedForm(problem).rows, ClosedForm(problem).solve().change
    within, factors = _Within(problem, rows, squared), (start @ rows.T).requires_grad_()
    for measured, model, expected in (
        (within.loss, within._loss_model, float(activation_loss(problem, squared=squared)(start))),
        (within.damage, within._damage_model, Trial(problem, start).solution().damage),
    ):
        total = measured(factors).sum()
        assert float(total.detach()) == pytest.approx(expected, rel=1e-9)
        # The model of the absolute loss is rounded where a difference is small, so that its slope is another.
        if squared or measured == within.damage:
            (slope,) = torch.autograd.grad(total, factors)
            torch.testing.assert_close(model(factors.detach())[0], slope, rtol=1e-7, atol=1e-9 * float(slope.norm()))


def test_solving_again_gives_the_same_bits_without_the_largest_factor(problem, monkeypatch):
    sizes, factored = [], torch.linalg.cholesky_ex
    monkeypatch.setattr(torch.linalg, "cholesky_ex", lambda matrix: sizes.append(len(matrix)) or factored(matrix))
    solver = ClosedForm(problem)
    first, largest = solver.solve(), max(sizes)
    sizes.clear()
    again = solver.solve()
    assert torch.equal(first.change, again.change)
    assert max(sizes, default=0) < largest
