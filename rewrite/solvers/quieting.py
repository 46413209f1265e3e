"""Quiet places of rules: where their first solution, with a careful prior, does not fire in ordinary images.

They depend on the marks and on what the layer usually reads, not on the weights that a rule is solved with in the end:
so they are found once, and an answer does not change by leaps where a weight does.
"""

from collections.abc import Sequence
from dataclasses import replace

from rewrite.generators.contract import Generator
from rewrite.goals.cache import Goals
from rewrite.goals.joint import joint_goal
from rewrite.goals.quiet import Quiet, quiet_places
from rewrite.memory import Memory
from rewrite.rules.rule import Rule
from rewrite.rules.settings import Settings
from rewrite.solvers.choice import OTHERS, prior
from rewrite.solvers.closed_form import ClosedForm
from rewrite.solvers.problem import Problem

# Where a change writes little hardly depends on its last steps.
FIRST_STEPS = 2


def quieted(problem: Problem, quiet: Quiet) -> Problem:
    """The problem with quiet places among its hard negatives, if its settings weigh them."""
    total = problem.settings.quiet
    return problem if total == 0 else replace(problem, goal=quiet.among(problem.goal, total))


def quiet_of(
    generator: Generator, memory: Memory, rules: Sequence[Rule], strengths: Sequence[float], goals: Goals
) -> Quiet:
    """The quiet places of some rules together, found now or before.

    Args:
        generator: The generator that the rules were written on.
        memory: The second moment of their layer.
        rules: The rules, of one layer.
        strengths: How much of each is wanted.
        goals: Goals and quiet places of before.
    """
    first = [replace(rule, settings=_first(rule.settings)) for rule in rules]

    def find() -> Quiet:
        goal = joint_goal(generator, first, strengths, goals)
        problem = Problem.of(generator, memory, goal, first[0].settings)
        solution, _ = ClosedForm(replace(problem, settings=prior(problem))).best()
        cuts = goals.ordinary_cuts(generator, problem.layer)
        return quiet_places(generator, problem.layer, goal, solution.change, cuts)

    return goals.quiet(generator, memory, first, strengths, find)


def _first(settings: Settings) -> Settings:
    """Settings of a first solution, whatever those of the last."""
    others = OTHERS[0] if settings.others > 0 else 0.0
    return Settings(others=others, steps=FIRST_STEPS, margin=settings.margin, key_space=settings.key_space)
