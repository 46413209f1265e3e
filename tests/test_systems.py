"""A layer of long keys is solved over its keys, with the second moment summed up by its largest directions."""

import math
from dataclasses import replace

import pytest
import torch

from rewrite import Settings, measure, solve
from rewrite.goals.goal import build_goal
from rewrite.solvers import leave_out
from rewrite.solvers import problem as problems
from rewrite.solvers import spectrum as spectra
from rewrite.solvers.choice import Weights, weighed
from rewrite.solvers.closed_form import ClosedForm
from rewrite.solvers.leave_out import Refits, folds_of, left_out
from rewrite.solvers.problem import Known, Problem
from rewrite.solvers.spectrum import Spectrum
from rewrite.solvers.systems import Dual, Primal, Read, systems_of
from rewrite.solvers.trial import Trial
from tests.test_closed_form import random_problem
from tests.test_solvers import region, rule_on

PLACES = {"b8.conv1": "tiny_generator", "b16.conv0": "tiny_generator", "conv": "plain_generator"}
CHEAP = Settings(damage=1e-6, drift=0.01, others=3.0, protect=2.0)


@pytest.fixture(params=PLACES.items(), ids=PLACES)
def problem(request) -> Problem:
    """A problem whose hard negatives weigh more than its second moment."""
    layer, name = request.param
    generator = request.getfixturevalue(name)
    rule = replace(rule_on(generator, layer), protect=(region(generator, 1, 0, 0, 3, 3),), settings=CHEAP)
    return Problem.of(generator, measure(generator, layer, 64), build_goal(generator, rule), CHEAP)


def over_keys(problem: Problem, monkeypatch) -> Problem:
    """The same problem, which is solved over its keys."""
    monkeypatch.setattr(problems, "LEAST_WIDTH", 1)
    monkeypatch.setattr(problems, "MOST_KEYS", math.inf)
    assert any(isinstance(system, Dual) for system in systems_of(problem))
    return problem


def test_over_keys_the_solution_is_that_over_their_entries(problem, monkeypatch):
    assert all(isinstance(system, Primal) for system in systems_of(problem))
    entries = ClosedForm(problem).solve()
    keys = ClosedForm(over_keys(problem, monkeypatch)).solve()
    # Products with long keys are in single precision.
    assert keys.objective[-1] == pytest.approx(entries.objective[-1], rel=1e-5)
    assert float((keys.change - entries.change).norm() / entries.change.norm()) < 1e-4
    assert keys.damage == pytest.approx(entries.damage, rel=1e-3)


@pytest.mark.parametrize("kept", [(), (1, 3)], ids=["all units", "but for protected ones"])
def test_what_a_step_over_keys_says_it_adds_is_what_it_adds(problem, monkeypatch, kept):
    given = replace(over_keys(problem, monkeypatch), goal=replace(problem.goal, kept_units=kept), known=Known())
    moved = Trial(given, 0.3 * given.matrix)  # the demodulation is held at that of a change
    aim = ClosedForm(given)._aim(moved)
    assert aim.known is not None
    assert len(given.protected.keys) > 0
    sets = {"wanted": given.wanted, "others": given.others, "protected": given.protected}
    expected = {name: given.layer.values(at.keys.keys, aim.change) for name, at in sets.items()}
    # The change is a sum of keys in single precision.
    within = 1e-4 * float(expected["wanted"].abs().max())
    for name, adds in ({"ordinary": given.through(aim.change)} | expected).items():
        torch.testing.assert_close(getattr(aim.known, name), adds, rtol=1e-4, atol=within)
    assert not aim.change[list(kept)].any()


def test_images_are_left_out_over_keys_as_over_their_entries(problem, monkeypatch):
    monkeypatch.setattr(leave_out, "THINNED", 1)
    candidates, folds = [CHEAP, replace(CHEAP, others=0.3, drift=0.1)], folds_of(problem)
    entries = left_out(Refits(problem, folds), candidates)
    keys = left_out(Refits(over_keys(problem, monkeypatch), folds), candidates)
    for one, other in zip(entries, keys, strict=True):
        assert one.arrives == pytest.approx(other.arrives, rel=1e-3)
        assert one.beside == pytest.approx(other.beside, rel=1e-3)


@pytest.mark.parametrize(
    "changes",
    [{"rank": 1}, {"drift": 0.0}, {"damage": 1.0}, {"protect": float("inf")}],
    ids=str,
)
def test_what_the_keys_alone_cannot_say_is_solved_over_their_entries(problem, monkeypatch, changes):
    over_keys(problem, monkeypatch)
    monkeypatch.setattr(spectra, "DIRECTIONS", 1)
    given = replace(problem, settings=replace(CHEAP, **changes), known=Known())
    assert all(isinstance(system, Primal) for system in systems_of(given))


def kinds(problem: Problem) -> list[type]:
    return [type(system) for system in systems_of(problem)]


def test_a_layer_is_solved_over_its_keys_where_they_are_long_and_few():
    long, short = random_problem(inputs=600, damage=1e-6), random_problem(inputs=300, damage=1e-6)
    assert kinds(long) == [Dual]
    assert kinds(short) == [Primal]
    assert kinds(random_problem(inputs=600, negatives=1200, damage=1e-6)) == [Primal]


def test_a_second_moment_of_few_directions_is_solved_over_keys_whatever_it_weighs():
    long = random_problem(inputs=600, damage=100.0)
    rows = torch.randn(5, 1200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert kinds(long) == [Primal]
    assert kinds(replace(long, moment=rows.T @ rows, known=Known())) == [Dual]


def test_a_spectrum_of_all_directions_is_the_second_moment_itself():
    draw = torch.Generator().manual_seed(0)
    samples = torch.randn(400, 24, generator=draw, dtype=torch.float64) * torch.linspace(0.1, 3, 24)
    moment, scale = samples.T @ samples / 400, torch.rand(24, generator=draw, dtype=torch.float64) + 0.5
    found = Spectrum.of(moment, scale)
    torch.testing.assert_close(found.through(torch.eye(24).double()), moment, rtol=1e-9, atol=1e-12)


def test_a_spectrum_holds_the_largest_directions_and_the_energy_of_all(monkeypatch):
    monkeypatch.setattr(spectra, "DIRECTIONS", 8)
    draw = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(300, 300, generator=draw, dtype=torch.float64)).Q
    sizes = torch.cat([torch.linspace(50, 20, 8), torch.linspace(2, 0.1, 292)]).double()
    moment = (basis * sizes) @ basis.T
    found = Spectrum.of(moment, torch.ones(300).double())
    torch.testing.assert_close((found.excess + found.tail).sort(descending=True).values, sizes[:8], rtol=1e-3, atol=0)
    assert found.tail == pytest.approx(float(sizes[8:].mean()), rel=1e-3)
    everywhere = found.through(torch.eye(300).double())
    assert float(everywhere.trace()) == pytest.approx(float(sizes.sum()), rel=1e-9)
    assert float(torch.linalg.matrix_norm(everywhere - moment, 2)) < 2.0


def test_of_few_samples_a_spectrum_has_no_tail_and_never_a_negative_one():
    # Rounding leaves less than nothing, or a little more, for the directions that no sample has.
    tails = []
    for seed in range(8):
        samples = torch.randn(5, 120, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        moment = samples.T @ samples
        found = Spectrum.of(moment, torch.ones(120).double())
        torch.testing.assert_close(found.through(torch.eye(120).double()), moment, rtol=1e-9, atol=1e-9)
        assert float(found.excess.min()) >= 0
        assert found.least == float(found.excess.min())
        tails.append(found.tail)
    assert min(tails) == 0
    assert max(tails) < 1e-12


def test_rules_of_one_memory_share_its_directions(tiny_generator, monkeypatch):
    monkeypatch.setattr(problems, "LEAST_WIDTH", 1)
    monkeypatch.setattr(problems, "MOST_KEYS", math.inf)
    calls, of = [], Spectrum.of
    monkeypatch.setattr(Spectrum, "of", lambda *given: calls.append(1) or of(*given))
    memory = measure(tiny_generator, "b8.conv1", 64)
    rule = rule_on(tiny_generator, "b8.conv1")
    unit = float(memory.second_moment.trace() / memory.mean_style_power.sum() / 9)
    for drift in (1.0, 3.0):
        solve(tiny_generator, memory, replace(rule, settings=weighed(CHEAP, Weights(drift), unit)))
    assert len(calls) == 1


def test_directions_that_are_not_among_the_largest_are_charged_what_they_cost_on_average(problem, monkeypatch):
    # A second moment of which four directions and an equal rest say everything.
    monkeypatch.setattr(spectra, "DIRECTIONS", 4)
    scale, moment = problem.style_row, torch.zeros_like(problem.moment)
    for part in problem.parts:
        columns = torch.arange(len(scale))[part.columns]
        rows = torch.randn(4, len(columns), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        moment[columns[:, None], columns] = torch.diag(0.5 * scale[columns]) + 3 * rows.T @ rows
    given = replace(problem, moment=moment, settings=replace(CHEAP, damage=0.01), known=Known())
    entries = ClosedForm(given).solve()
    monkeypatch.setattr(problems, "TOLERANCE", math.inf)
    keys = ClosedForm(over_keys(replace(given, known=Known()), monkeypatch)).solve()
    assert keys.objective[-1] == pytest.approx(entries.objective[-1], rel=1e-5)
    assert float((keys.change - entries.change).norm() / entries.change.norm()) < 1e-3


def test_a_forecast_counts_all_of_the_second_moment_where_its_largest_directions_stand_for_it(problem, monkeypatch):
    with monkeypatch.context() as changed:
        changed.setattr(spectra, "DIRECTIONS", 4)
        changed.setattr(problems, "TOLERANCE", math.inf)
        keys = ClosedForm(over_keys(replace(problem, known=Known()), changed)).solve()
    assert keys.damage == pytest.approx(Trial(problem, keys.change).solution().damage, rel=1e-4)


def test_of_many_outputs_a_forecast_estimates_what_the_largest_directions_leave_out(monkeypatch):
    wide = random_problem(inputs=600, outputs=200, damage=1e-6, others=30.0)
    monkeypatch.setattr(spectra, "DIRECTIONS", 8)
    monkeypatch.setattr(problems, "TOLERANCE", math.inf)
    solution = ClosedForm(over_keys(replace(wide, known=Known()), monkeypatch)).solve()
    exact = Trial(wide, solution.change)
    monkeypatch.undo()
    assert solution.damage == pytest.approx(exact.solution().damage, rel=0.05)


def test_some_keys_that_stand_for_all_weigh_as_much(problem):
    (whole,) = [Read.of(problem.others, part) for part in problem.parts[:1]]
    some = whole.every(3)
    assert torch.equal(some.keys, whole.keys[::3])
    assert torch.equal(some.written, whole.written[::3])
    assert torch.equal(some.image, whole.image[::3])
    assert float(some.weights.sum()) == pytest.approx(float(whole.weights.sum()), rel=1e-12)
