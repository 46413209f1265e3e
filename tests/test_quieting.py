"""Quiet places: where a first solution does not fire in ordinary images, held as hard negatives."""

from dataclasses import replace

import pytest
import torch

from rewrite import Goals, Rule, Settings, measure, solve
from rewrite.goals import cache as caching
from rewrite.goals.goal import Goal, build_goal
from rewrite.goals.quiet import FIRST_SEED, IMAGES, quiet_places
from rewrite.solvers.choice import OTHERS, prior
from rewrite.solvers.closed_form import ClosedForm
from rewrite.solvers.problem import Problem
from rewrite.solvers.quieting import FIRST_STEPS, quiet_of, quieted
from rewrite.solvers.trial import Trial
from tests.test_leave_out import SETTINGS, problem_of
from tests.test_solvers import region, rule_on


def test_quiet_places_are_ordinary_ones_where_a_change_writes_little(tiny_generator):
    problem = problem_of(tiny_generator, "b16.conv1")
    change = ClosedForm(problem).solve().change
    goal: Goal = quiet_places(tiny_generator, problem.layer, problem.goal, change).among(problem.goal, 30.0)
    added = goal.others.image >= len(problem.goal.styles)
    assert len(goal.styles) == len(problem.goal.styles) + IMAGES
    assert float(goal.others.weights[added].sum()) == pytest.approx(30.0)
    quieter = Problem.of(tiny_generator, measure(tiny_generator, "b16.conv1", 64), goal, SETTINGS)
    trial = Trial(quieter, change)
    size = (problem.layer.values(goal.others.keys[added], change) * quieter.first[goal.others.image[added]]).norm(dim=1)
    usual = (problem.layer.values(goal.wanted.keys, change) * quieter.first[goal.wanted.image]).norm(dim=1).median()
    assert float(size.max()) <= 0.2501 * float(usual)
    # What the keys are said to give is what the layer writes for them.
    written = quieter.others.written * quieter.first[goal.others.image]
    torch.testing.assert_close(written[added], goal.others.values[added], rtol=1e-4, atol=1e-5)
    assert trial.others.shape == goal.others.values.shape


def test_quiet_places_are_held_where_the_settings_weigh_them(tiny_generator):
    problem = problem_of(tiny_generator, "b16.conv1")
    quiet = quiet_places(tiny_generator, problem.layer, problem.goal, ClosedForm(problem).solve().change)
    assert quieted(problem, quiet) is problem
    found = quieted(replace(problem, settings=replace(SETTINGS, quiet=0.5)), quiet).goal.others
    assert float(found.weights[len(problem.goal.others) :].sum()) == pytest.approx(0.5)


def test_a_rule_is_solved_with_the_quiet_places_that_its_settings_weigh(tiny_generator):
    memory, rule = measure(tiny_generator, "b16.conv1", 64), rule_on(tiny_generator, "b16.conv1")
    none, light, full = (solve(tiny_generator, memory, rule.with_settings(quiet=quiet)) for quiet in (0.0, 0.1, 1.0))
    away = [float((patch.left @ patch.right - none.left @ none.right).norm()) for patch in (light, full)]
    assert 0 < away[0] < away[1]


def test_quiet_places_are_those_of_a_first_solution_whatever_the_weights_of_the_last(tiny_generator):
    memory, rule = measure(tiny_generator, "b16.conv1", 64), rule_on(tiny_generator, "b16.conv1")

    def first(others: float) -> torch.Tensor:
        settings = Settings(others=others, steps=FIRST_STEPS)
        problem = Problem.of(
            tiny_generator, memory, build_goal(tiny_generator, replace(rule, settings=settings)), settings
        )
        solution, _ = ClosedForm(replace(problem, settings=prior(problem))).best()
        return quiet_places(tiny_generator, problem.layer, problem.goal, solution.change).keys.keys

    def found(**settings) -> torch.Tensor:
        given = replace(rule, settings=Settings(**settings))
        return quiet_of(tiny_generator, memory, [given], [1.0], Goals()).keys.keys

    assert torch.equal(found(others=0.5, damage=0.2), first(OTHERS[0]))
    assert torch.equal(found(others=7.0, damage=0.001), first(OTHERS[0]))
    assert torch.equal(found(others=0.0), first(0.0))


def test_ordinary_images_are_run_once_for_all_rules_of_a_layer(tiny_generator, monkeypatch):
    memory, calls, cut = measure(tiny_generator, "b16.conv1", 64), [], type(tiny_generator).cut
    first = rule_on(tiny_generator, "b16.conv1").with_settings(quiet=1.0)
    second = first.with_contexts([region(tiny_generator, 7, 2, 2, 3, 3)])
    alone = solve(tiny_generator, memory, second)
    monkeypatch.setattr(
        type(tiny_generator),
        "cut",
        lambda self, layer, latents: calls.extend(latents.seeds) or cut(self, layer, latents),
    )
    goals = Goals()

    def ordinary(rule: Rule) -> int:
        calls.clear()
        solve(tiny_generator, memory, rule, goals=goals)
        return sum(seed >= FIRST_SEED for seed in calls)

    assert [ordinary(first), ordinary(second)] == [IMAGES, 0]
    again = solve(tiny_generator, memory, second, goals=goals)
    assert torch.equal(again.left, alone.left)
    assert torch.equal(again.right, alone.right)
    # Maps that take too much memory are not kept.
    monkeypatch.setattr(caching, "MOST_BYTES", 0)
    goals = Goals()
    assert [ordinary(first), ordinary(second)] == [IMAGES, IMAGES]
