"""Rules become a patch: goals are built, weights chosen where the marks are to say, and the problem solved."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rewrite.generators.contract import Generator
from rewrite.generators.fingerprint import hash_of, weights_held
from rewrite.generators.layers import Layer
from rewrite.goals.cache import Goals
from rewrite.goals.joint import checked_strengths, joint_goal, joint_settings
from rewrite.goals.pasted import Pasted, aims_of
from rewrite.goals.sketch import sketched
from rewrite.goals.still import Still
from rewrite.memory import Memory
from rewrite.patch import Patch
from rewrite.progress import counted
from rewrite.rules.rule import Rule
from rewrite.rules.settings import Settings
from rewrite.solvers.choice import Choice, choose, judge, posed, prior, rival, settled
from rewrite.solvers.closed_form import ClosedForm
from rewrite.solvers.descent import descend, faint
from rewrite.solvers.finish import finish
from rewrite.solvers.notes import notes_on
from rewrite.solvers.problem import Problem
from rewrite.solvers.quieting import quiet_of, quieted
from rewrite.solvers.solution import Solution
from rewrite.solvers.trial import Trial

# Of the time that the marks' choice and a descent take, the choice's share; and in it that of the first one.
CHOICE, FIRST = 0.6, 0.8


@weights_held()
def solve(
    generator: Generator,
    memory: Memory,
    rule: Rule | Sequence[Rule],
    *,
    rank: int | None = None,
    strengths: Sequence[float] | None = None,
    goals: Goals | None = None,
    judged: bool = False,
    on_progress: Callable[[float], object] | None = None,
) -> Patch:
    """Solve a rule, or several rules of one layer together.

    Rules solved together do not undo one another, and the result does not depend on their order.

    Args:
        generator: The generator that the rules were written on.
        memory: The second moment of the rules' layer.
        rule: The rule, or the rules.
        rank: Number of directions; what the rules' settings say if left out.
        strengths: How much of each rule is wanted, 1 if left out.
        goals: Goals built before; one that is passed to `report_on` as well lets a rule be refined once for both.
        judged: Whether the forecast says what arrives in images that are left out also where the weights are given.
        on_progress: Called with the share that is done of the choice of the weights and of a descent, 0 to 1; may raise
            to end it.

    Returns:
        The patch, which says in its forecast what to expect of it.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: Rule, memory and generator do not belong together, the rules' settings differ where they act on the
            whole layer, or the rank is out of range.
    """
    rules = _of_one_layer([rule] if isinstance(rule, Rule) else list(rule))
    layer = generator.layer(rules[0].layer)
    memory.check(generator, layer.name)
    order = sorted(range(len(rules)), key=lambda i: rules[i].to_json()) if len(rules) > 1 else [0]
    strengths = checked_strengths(strengths, len(rules))
    rules, strengths = [posed(generator, rules[i]) for i in order], [strengths[i] for i in order]
    settings, choice = joint_settings([each.settings for each in rules], rank), None
    if memory.key_space != settings.key_space:
        raise ValueError(
            f"this rule is solved over {settings.key_space} keys, this memory is of {memory.key_space} keys"
        )
    work = _Work(generator, memory, goals or Goals(), strengths)
    problem, choice = work.problem(rules, settings), None
    drawing = settings.weights == "marks" or judged
    aims = aims_of(work.sketch, rules, strengths, work.goals.unedited(work.sketch)) if drawing else {}
    if settings.weights == "marks":
        rules, choice = _chosen(work, problem, rules, aims, on_progress)
        problem = work.problem(rules, choice.settings)
    elif judged:
        choice = judge(generator, aims, problem)
    solution, more = _solution(work, problem, rules, _part(on_progress, CHOICE if choice else 0.0, 1.0))
    more |= {} if choice is None else choice.forecast()
    more["notes"] = notes_on(generator, rules) if settings.weights == "given" else []
    return _patch(generator, rules, layer, solution, more)


@dataclass(frozen=True)
class _Work:
    """What all problems of some rules are set up from."""

    generator: Generator
    memory: Memory
    goals: Goals
    strengths: Sequence[float]

    @property
    def sketch(self) -> Generator:
        """What draws the pictures that decide."""
        return sketched(self.generator, self.memory.layer)

    def problem(self, rules: Sequence[Rule], settings: Settings) -> Problem:
        """The problem of the rules with some settings, their quiet places among its hard negatives."""
        goal = joint_goal(self.generator, rules, self.strengths, self.goals)
        problem = Problem.of(self.generator, self.memory, goal, settings)
        if settings.quiet == 0:
            return problem
        return quieted(problem, quiet_of(self.generator, self.memory, rules, self.strengths, self.goals))


def _chosen(
    work: _Work,
    problem: Problem,
    rules: Sequence[Rule],
    aims: Mapping[int, Pasted],
    on_progress: Callable[[float], object] | None,
) -> tuple[list[Rule], Choice]:
    """The rules with the weights that their marks say, and the choice; values are refined only where that helps.

    Adjusted values bring more of the copy to the marked images of most networks. Of some, they bring less to others.
    """
    whole = CHOICE if problem.descends else 1.0
    tell = [_part(on_progress, *share) for share in ((0.0, FIRST * whole), (FIRST * whole, whole))]
    choice = choose(work.generator, aims, work.problem(rules, prior(problem)), tell[0])
    if not choice.settings.descent and any(rule.settings.refine for rule in rules):
        plain = [replace(rule, settings=replace(rule.settings, refine=0)) for rule in rules]
        other = work.problem(plain, replace(prior(problem), refine=0))
        better = rival(work.generator, aims, other, choice, tell[1])
        if better is not None:
            rules, choice = plain, better
    return [settled(rule, choice) for rule in rules], choice


def _part(on_progress: Callable[[float], object] | None, start: float, stop: float) -> Callable[[float], object] | None:
    """What tells the share of the whole that is done, from the share of a part of it."""
    return None if on_progress is None else lambda share: on_progress(start + share * (stop - start))


def _solution(
    work: _Work, problem: Problem, rules: Sequence[Rule], on_progress: Callable[[float], object] | None
) -> tuple[Solution, dict[str, Any]]:
    """The solution, found or adjusted in the image where its settings ask for it, and what a forecast says of that."""
    generator = work.generator
    if not (problem.descends or problem.finishes):
        return ClosedForm(problem).solve(), {}
    aims = list(aims_of(generator, rules, work.strengths, work.goals.unedited(generator)).values())
    if problem.descends:
        start = ClosedForm(replace(problem, settings=faint(problem.settings))).solve().change
        step = counted(on_progress, problem.settings.descent)
        found = descend(generator, problem, aims, start, Still.of(generator, problem.layer), step)
        return Trial(problem, found.change).solution(), {"descent": {"missed": list(found.missed)}}
    first = ClosedForm(problem).solve()
    found = finish(generator, problem, aims, first.change, problem.settings.finish)
    return Trial(problem, found.change).solution(first.objective), {"finish": {"missed": list(found.missed)}}


def _of_one_layer(rules: Sequence[Rule]) -> Sequence[Rule]:
    """The rules, if they can be solved together."""
    if not rules:
        raise ValueError("solve needs at least one rule, got none")
    layers = sorted({each.layer for each in rules})
    if len(layers) > 1:
        raise ValueError(f"rules solved together must be of one layer, got {' and '.join(layers)}")
    return rules


def _patch(
    generator: Generator, rules: Sequence[Rule], layer: Layer, solution: Solution, more: Mapping[str, Any]
) -> Patch:
    """The patch of a solution, with what to expect of it beside the solution's own numbers."""
    return Patch.from_change(
        layer,
        solution.change,
        base=hash_of({"weight": generator.weight(layer.name)}),
        model=generator.fingerprint,
        rules=tuple(each.to_json() for each in rules),
        forecast={**solution.forecast(), **more},
    )
