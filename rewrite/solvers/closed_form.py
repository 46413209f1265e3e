"""A rule becomes a patch, in closed form: constrained least squares, repeated while the demodulation follows.

A modulated layer writes d(s, W) · W k with d = (Σ (W s)² + ε)^(-1/2) (Karras et al. 2020, eq. 3): the weight that is
edited also sits inside the factor. Each step solves the linear problem with the factor held, computes the factor of
the solution, and is taken only as far as it lowers the true objective, in which the factor follows the weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.layers import Part
from rewrite.solvers import algebra
from rewrite.solvers.algebra import Metric
from rewrite.solvers.directions import channel_rows, patch_rows, phase_metrics
from rewrite.solvers.problem import Problem
from rewrite.solvers.solution import Solution
from rewrite.solvers.systems import Asked, Dual, Primal, Read, metric_of, systems_of
from rewrite.solvers.trial import Added, Trial

MOST_RESTORING_STEPS = 30
STEP_SIZES = (1.0, 0.5, 0.25, 0.1)
ENOUGH = 1e-3
EXACT = 1e-10
RIDGE = 1e-2


class ClosedForm:
    """The solver of a problem by constrained least squares; what solving again can use is kept.

    Attributes:
        problem: The problem.
    """

    def __init__(self, problem: Problem):
        self.problem = problem

    def solve(self) -> Solution:
        """The best change that the steps find, and what it does."""
        best, path = self.best()
        return best.solution(tuple(path))

    def best(self) -> tuple[Trial, list[float]]:
        """The best change that the steps find; never one with a higher objective than no change at all.

        Returns:
            The change, and the objective after each step.
        """
        problem, settings = self.problem, self.problem.settings
        nothing = torch.zeros_like(problem.matrix)
        best = Trial(problem, nothing)
        path = [best.objective]
        for _ in range(settings.steps if problem.modulated else 1):
            lower = self._descend(best, self._aim(best), path[-1])
            if lower is None:
                break
            best = lower
            path.append(best.objective)
            if _next(path) < ENOUGH * path[-1]:
                break
        if problem.exact and problem.modulated and best.change.any():
            restored = Trial(problem, self.blocks[0].restored(best.change))
            best = restored if restored.objective < path[0] else Trial(problem, nothing)
            path.append(best.objective)
        if settings.rank is not None and settings.constraint == "written":
            lower = Trial(problem, self._sparing(torch.cat([block.truncate(best.change) for block in self.blocks])))
            # The demodulation moves with the weight: the full step of a lower rank may be too far.
            best = self._descend(Trial(problem, nothing), lower, path[0]) or Trial(problem, nothing)
            path.append(best.objective)
        return best, path

    @cached_property
    def blocks(self) -> list["_Block"]:
        """The least-squares problem of each group, factored: solving again reuses it."""
        systems = systems_of(self.problem)
        return [
            _Block(self.problem, rows, columns, tuple(each for each in systems if each.part.rows == rows))
            for rows, columns in self.problem.layer.blocks()
        ]

    @property
    def rows(self) -> Float[Tensor, "rows key"] | None:
        """The rows that a change is confined to, or None where it is free; for a layer without groups."""
        return self.blocks[0].within

    def _sparing(self, change: Tensor) -> Tensor:
        """A change without its rows of protected units; no other unit's row depends on them."""
        change[list(self.problem.goal.kept_units)] = 0
        return change

    def _aim(self, present: Trial) -> Trial:
        """The solution with the demodulation held at that of a change."""
        steps = [block.step(present) for block in self.blocks]
        change = steps[0].change if len(steps) == 1 else torch.cat([step.change for step in steps])
        change, added = self._sparing(change), None
        known = [step.added for step in steps if step.added is not None]
        if len(known) == len(steps):
            added = Added.of_groups(known).sparing(self.problem.goal.kept_units)
        return Trial(self.problem, change, added)

    def _descend(self, start: Trial, aim: Trial, value: float) -> Trial | None:
        """The largest step from a trial towards an aim that has a lower objective than `value`; None if none has."""
        trials = (start.towards(aim, size) for size in STEP_SIZES)
        return next((trial for trial in trials if trial.objective < value), None)


@dataclass(frozen=True)
class Step:
    """The change of one group, and what it adds at the keys of the problem, where that is known."""

    change: Float[Tensor, "rows columns"]
    added: Added | None = None


@dataclass(frozen=True)
class _Block:
    """One group of a layer: its own least-squares problem, with what is factored once for all steps.

    Attributes:
        rows: The outputs of the group.
        columns: The entries of the key that they read.
        systems: What is solved in each step where nothing confines the change, one for each phase of the keys.
    """

    problem: Problem
    rows: slice
    columns: slice
    systems: tuple[Primal | Dual, ...]

    @cached_property
    def metric(self) -> Metric:
        """What a change costs over all entries, but for the wanted keys."""
        first, *more = self.systems
        if isinstance(first, Primal) and not more:
            return first.metric
        whole = Part(self.rows, slice(None), self.columns)
        return metric_of(self.problem, whole, [Read.of(at, whole) for at in self.problem.soft])

    @cached_property
    def within(self) -> Float[Tensor, "directions columns"] | None:
        """The rows that a change is confined to, or None where it is free."""
        settings = self.problem.settings
        confined = settings.rank is not None and settings.constraint == "fires"
        return firing_rows(self.problem, self.columns, self.metric) if confined else None

    def step(self, present: Trial) -> Step:
        """Solve with the demodulation held at that of the present change."""
        asked = self._asked(present)
        if self.within is not None:
            return Step(self._confined(asked, self.within))
        answers = [system.solve(asked) for system in self.systems]
        change, added = torch.zeros_like(self.problem.matrix[self.rows]), Added.nothing(self.problem, self.rows)
        soft = [each for each in (added.others, added.protected) if len(each)]
        for system, answer in zip(self.systems, answers, strict=True):
            change[:, system.part.own] = answer.change
            if answer.adds is not None:
                # No key has entries of two parts.
                for into, read, adds in zip((*soft, added.wanted), system.reads, answer.adds.at_keys, strict=True):
                    into[read.there] = adds
                added.ordinary[:, system.part.own] = answer.adds.ordinary
        return Step(change, None if any(answer.adds is None for answer in answers) else added)

    def _asked(self, present: Trial) -> Asked:
        """What the step asks for, with the demodulation of a change."""
        problem, goal = self.problem, self.problem.goal
        factor, first = (each[:, self.rows] for each in (present.factor, problem.first))
        relative = (factor / factor.mean(dim=0)).square().mean(dim=1)
        lost = first / factor - 1
        return Asked(
            residual=goal.targets[:, self.rows] / factor[goal.wanted.image] - problem.wanted.written[:, self.rows],
            weights=goal.wanted.weights * relative[goal.wanted.image],
            missing=[at.written[:, self.rows] * lost[at.keys.image] for at in problem.soft],
            share=lost.mean(dim=0),
        )

    def _confined(self, asked: Asked, within: Tensor) -> Float[Tensor, "rows columns"]:
        """The step within the rows that a change is confined to."""
        problem, across = self.problem, within.T
        pull = problem.settings.damage * asked.share[:, None] * problem.usual[self.rows]
        for at, missing in zip(problem.soft, asked.missing, strict=True):
            pull = pull + (at.keys.weights[:, None] * missing).T @ at.keys.keys[:, self.columns]
        hard = problem.exact and not problem.modulated
        fixed = problem.goal.protected.keys[:, self.columns] @ across if hard else None
        reach = problem.goal.wanted.keys[:, self.columns] @ across
        found = algebra.minimise(self.inner, reach, asked.residual, asked.weights, fixed=fixed, pull=pull @ across)
        return found @ within

    @cached_property
    def inner(self) -> Metric:
        """The metric between the rows that a change is confined to."""
        assert self.within is not None
        return Metric(self.within @ self.metric.matrix @ self.within.T)

    def restored(self, change: Tensor) -> Tensor:
        """The change nearby that leaves what a modulated layer writes at the protected keys exactly as it was.

        Newton's method for d(s, w) w·k = v₀, row by row of the weight, within the directions H⁻¹k that serve the keys
        at the least cost.

        Raises:
            ValueError: There is no such change nearby.
        """
        problem, kept = self.problem, self.problem.goal.protected
        across = self.metric.solve(kept.keys) if self.within is None else self.within
        power = problem.goal.styles.square()[kept.image].repeat_interleave(problem.layer.taps, dim=1)
        reach = kept.keys @ across.T
        for _ in range(MOST_RESTORING_STEPS):
            matrix, factor = problem.matrix + change, problem.demodulation(change)[kept.image]
            values = kept.keys @ matrix.T * factor
            missing = kept.values - values
            if missing.norm() <= EXACT * kept.values.norm():
                return change
            spread = torch.einsum("nk,ok,rk->onr", power, matrix, across)
            slopes = factor.T[:, :, None] * reach - (values * factor.square()).T[:, :, None] * spread
            step = torch.linalg.lstsq(slopes, missing.T[:, :, None], driver="gelsd").solution[..., 0]
            change = change + step @ across
        raise ValueError(
            "the protected places cannot all be kept exactly: protect fewer, allow a higher rank, or protect by weight"
        )

    def truncate(self, change: Tensor) -> Float[Tensor, "rows columns"]:
        """The best change of the rank that the settings ask for, at its present demodulation."""
        problem, wanted = self.problem, self.problem.goal.wanted
        assert problem.settings.rank is not None
        joined = self.metric.with_keys(wanted.keys[:, self.columns], wanted.weights)
        # Rows are weighed by the demodulation, so that the error is counted in what the layer writes.
        first = problem.first.mean(dim=0)[self.rows, None]
        return algebra.truncate(change[self.rows] * first, joined, problem.settings.rank) / first


def _next(path: Sequence[float]) -> float:
    """By how much the next step will lower the objective, if it gains on the last one as that did on the one before."""
    gains = [before - after for before, after in pairwise(path)]
    return gains[-1] if len(gains) == 1 else gains[-1] * min(1.0, gains[-1] / gains[-2])


def firing_rows(problem: Problem, columns: slice, metric: Metric) -> Float[Tensor, "rows key"]:
    """The rows that a change may use when it is confined to where the rule fires.

    Patch keys: `rank` patterns of the whole receptive field. Channel keys, as in the 2020 paper: `rank` mixtures of
    channels, each free at every tap.
    """
    layer, rank, context = problem.layer, problem.settings.rank, problem.goal.context[:, columns]
    assert rank is not None
    if problem.settings.key_space == "patch":
        return torch.linalg.qr(patch_rows(context, phase_metrics(metric.matrix, layer), layer, rank).T).Q.T
    moment = problem.moment[columns, columns][:: layer.taps, :: layer.taps]
    ridge = RIDGE * moment.diagonal().mean() * torch.eye(len(moment), dtype=moment.dtype)
    return channel_rows(context, moment + ridge, layer, rank)
