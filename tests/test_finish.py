"""The last steps of a solution, taken in the image."""

from dataclasses import replace

import pytest
import torch

from rewrite import Rule, Settings, measure, solve
from rewrite.generators.layers import Part
from rewrite.goals.cache import Goals
from rewrite.goals.goal import build_goal
from rewrite.goals.pasted import aims_of, pasted_images
from rewrite.goals.refine import EMPHASIS
from rewrite.rules.regions import Latent
from rewrite.solvers import drawn, effort
from rewrite.solvers import spectrum as spectra
from rewrite.solvers.choice import PARTS_LARGE, TRIED_LARGE, TRIED_STEPS, choose, posed, prior
from rewrite.solvers.drawn import draw_left_out
from rewrite.solvers.effort import operations_of_step
from rewrite.solvers.finish import RATE, falling, finish
from rewrite.solvers.leave_out import Refits, folds_of
from rewrite.solvers.preconditioner import RIDGE, Preconditioner
from rewrite.solvers.problem import Problem
from rewrite.solvers.quieting import quiet_of, quieted
from tests.test_solvers import region, rule_on

SETTINGS = Settings(damage=0.02, drift=0.05, others=1.0)


def missed(generator, rule, patch) -> float:
    """Mean absolute difference from the pasted pictures, pasted pixels counted five times, by whole runs."""
    parts = []
    for pasted in pasted_images(generator, rule):
        with patch.applied(generator):
            after = generator.images(generator.latents([pasted.latent.seed]))[0]
        parts.append(((after - pasted.wanted).abs() * (1 + EMPHASIS * pasted.inside)).mean())
    return float(torch.stack(parts).mean())


@pytest.mark.parametrize("steps", [1, 20])
def test_a_finish_takes_the_marked_images_nearer_to_what_is_wanted_and_says_how_near(tiny_generator, steps):
    rule = replace(rule_on(tiny_generator, "b16.conv1"), settings=SETTINGS)
    memory = measure(tiny_generator, "b16.conv1", 64)
    closed = solve(tiny_generator, memory, rule)
    finished = solve(tiny_generator, memory, rule.with_settings(finish=steps))
    before, after = missed(tiny_generator, rule, closed), missed(tiny_generator, rule, finished)
    assert after < before
    assert finished.forecast["finish"]["missed"] == pytest.approx([before, after], rel=1e-3)
    assert "finish" not in closed.forecast


def test_protected_units_do_not_move_and_protected_images_are_among_those_that_are_held(tiny_generator):
    rule = replace(
        rule_on(tiny_generator, "b16.conv1"),
        settings=replace(SETTINGS, finish=5),
        protect_units=(1,),
        protect=(region(tiny_generator, 77, 0, 0, 3, 3),),
    )
    patch = solve(tiny_generator, measure(tiny_generator, "b16.conv1", 64), rule)
    before = tiny_generator.weight("b16.conv1").detach().clone()
    with patch.applied(tiny_generator):
        moved = (tiny_generator.weight("b16.conv1") - before).abs().flatten(1).amax(dim=1)
    assert moved[1] == 0
    assert (moved > 0).sum() == len(moved) - 1
    held = [aim for aim in aims_of(tiny_generator, [rule], [1.0]).values() if aim.latent.seed == 77]
    assert [bool(aim.inside.any()) for aim in held] == [False]
    torch.testing.assert_close(held[0].wanted, held[0].before)


def test_a_rank_confines_a_change_and_leaves_no_finish(tiny_generator):
    rule = replace(rule_on(tiny_generator, "b16.conv1"), settings=replace(SETTINGS, finish=5))
    patch = solve(tiny_generator, measure(tiny_generator, "b16.conv1", 64), rule, rank=1)
    assert patch.rank == 1
    assert "finish" not in patch.forecast


def test_weak_rules_are_finished_at_their_strength(tiny_generator):
    rule = replace(rule_on(tiny_generator, "b16.conv1"), settings=SETTINGS)
    whole, half = (aims_of(tiny_generator, [rule], [strength]).values() for strength in (1.0, 0.5))
    for one, other in zip(whole, half, strict=True):
        torch.testing.assert_close(other.wanted, (one.before + one.wanted) / 2)


def test_the_finish_is_preconditioned_descent_on_what_is_missed(tiny_generator):
    """One step is Adam's first: against the sign of the gradient of an independent loss, by the rate, through P."""
    rule = replace(rule_on(tiny_generator, "b16.conv1"), settings=SETTINGS)
    layer, aims = tiny_generator.layer("b16.conv1"), list(aims_of(tiny_generator, [rule], [1.0]).values())
    memory, weight = measure(tiny_generator, "b16.conv1", 64), tiny_generator.weight("b16.conv1")
    problem = Problem.of(tiny_generator, memory, build_goal(tiny_generator, rule), SETTINGS)
    change = torch.zeros_like(layer.matrix(weight)).double()
    moved = finish(tiny_generator, problem, aims, change, 1).change
    latents = tiny_generator.latents([aim.latent.seed for aim in aims])
    with torch.enable_grad():
        asked = weight.detach().clone().requires_grad_()
        cut = tiny_generator.cut("b16.conv1", latents)
        factor = tiny_generator.demodulation("b16.conv1", cut.style, asked)
        images = tiny_generator.resume("b16.conv1", cut, layer.apply(cut.features, asked), factor)
        weighed = torch.stack([1 + EMPHASIS * aim.inside for aim in aims])[:, None]
        loss = ((images - torch.stack([aim.wanted for aim in aims])).abs() * weighed).mean()
    (slope,) = torch.autograd.grad(loss, asked)
    energy, directions = torch.linalg.eigh(memory.patch_moment(layer))
    steps = ((energy / energy.mean() + RIDGE) / (1 + RIDGE)).rsqrt()
    across = directions @ torch.diag(steps) @ directions.T
    rate = RATE * float(layer.matrix(weight).detach().square().mean().sqrt())
    # The effective weight is the stored one times the gain, and so the gradients differ by it alone.
    expected = -rate * torch.sign(layer.matrix(slope).double() @ across) @ across
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=0.05 * rate)


def test_the_rate_falls_to_zero_over_the_last_quarter_of_the_steps():
    assert [falling(step, 8) for step in range(9)] == [*[1.0] * 7, 0.5, 0.0]
    assert falling(0, 1) == 1.0


@pytest.mark.parametrize("directions", [64, 2])
@pytest.mark.parametrize("energy", [(9.0, 3.0, 0.5, 0.5, 0.5, 0.5), (0.0,) * 6], ids=["unequal", "none"])
def test_steps_along_what_the_layer_usually_reads_are_short(energy, directions, monkeypatch):
    monkeypatch.setattr(spectra, "DIRECTIONS", directions)
    energy = torch.tensor(energy, dtype=torch.float64)
    turned = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    moment = turned @ torch.diag(energy) @ turned.T
    preconditioned = Preconditioner.of([Part(slice(None), slice(None), slice(None))], lambda part: moment)
    lengths = preconditioned(turned.T).norm(dim=1)
    unit = energy.mean() if energy.any() else 1.0
    torch.testing.assert_close(lengths, ((energy / unit + RIDGE) / (1 + RIDGE)).rsqrt(), rtol=1e-6, atol=0)


def test_the_marks_take_a_finish_only_where_left_out_images_gain_by_it(tiny_generator, monkeypatch):
    settings = replace(Settings.from_marks(), refine=1, descent=0)
    rule = replace(rule_on(tiny_generator, "b16.conv1"), settings=settings)
    memory = measure(tiny_generator, "b16.conv1", 64)
    patch = solve(tiny_generator, memory, rule)
    goal = build_goal(tiny_generator, posed(tiny_generator, rule))
    problem = Problem.of(tiny_generator, memory, goal, posed(tiny_generator, rule).settings)
    quiet = quiet_of(tiny_generator, memory, [posed(tiny_generator, rule)], [1.0], Goals())
    problem = quieted(replace(problem, settings=prior(problem)), quiet)
    (chosen,) = [Rule.from_json(text).settings for text in patch.rules]
    aims = aims_of(tiny_generator, [rule], [1.0])
    left = (tiny_generator, aims, Refits(problem, folds_of(problem)), [chosen])
    (plain,), (finished,) = draw_left_out(*left), draw_left_out(*left, steps=TRIED_STEPS)
    assert chosen.finish == (20 if finished.worth > plain.worth else 0)
    assert ("finish" in patch.forecast) == (chosen.finish > 0)
    assert patch.forecast["left_out"]["drawn"]["arrives"] == pytest.approx(max(plain, finished, key=worth).arrives)


@pytest.mark.parametrize("affordable", [False, True])
def test_on_larger_images_a_finish_is_tried_only_where_it_takes_few_operations(tiny_generator, monkeypatch, affordable):
    rule = replace(rule_on(tiny_generator, "b16.conv1"), settings=replace(Settings.from_marks(), refine=1))
    asked, calls = posed(tiny_generator, rule), []
    problem = Problem.of(
        tiny_generator, measure(tiny_generator, "b16.conv1", 64), build_goal(tiny_generator, asked), asked.settings
    )
    aims = aims_of(tiny_generator, [rule], [1.0])
    each = operations_of_step(tiny_generator, "b16.conv1", next(iter(aims.values())).latent)
    parts = min(PARTS_LARGE, len(folds_of(problem)))
    steps = parts * TRIED_LARGE + rule.settings.finish
    monkeypatch.setattr(drawn, "LARGE", 0)
    monkeypatch.setattr(effort, "MOST_OPERATIONS", steps * len(aims) * each - (not affordable))
    monkeypatch.setattr(drawn, "finish", lambda *given: calls.append(given[-1]) or finish(*given))
    choose(tiny_generator, aims, problem)
    assert len(folds_of(problem)) > parts
    assert calls == [TRIED_LARGE] * (parts if affordable else 0)


def test_operations_of_a_step_are_those_of_the_layers_behind_there_and_back(plain_generator):
    # From `conv`: 4 of 3 channels by 3 x 3 on 6 x 6 cells, then `grouped` and `up`, each product and sum one operation.
    latent = Latent(0)
    conv, grouped, up = 4 * 3 * 9 * 36, 4 * 2 * 9 * 36, 4 * 3 * 16 * 36
    assert operations_of_step(plain_generator, "conv", latent) == 3 * 2 * (conv + grouped + up)
    assert operations_of_step(plain_generator, "up", latent) == 3 * 2 * up


def worth(found) -> float:
    return found.worth
