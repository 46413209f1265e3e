"""A change that is tried, and what it would do to the numbers of a problem."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.goals.keys import Keys
from rewrite.solvers.mapped import Mapped
from rewrite.solvers.problem import Problem
from rewrite.solvers.solution import Solution


@dataclass(frozen=True)
class Added:
    """What a change adds before the demodulation: linear in the change.

    Attributes:
        wanted, others, protected: At the keys of the goal.
        ordinary: Δ C.
    """

    wanted: Float[Tensor, "n outputs"]
    others: Float[Tensor, "others outputs"]
    protected: Float[Tensor, "protected outputs"]
    ordinary: Float[Tensor, "outputs group_width"]

    @classmethod
    def of(cls, problem: Problem, change: Float[Tensor, "outputs group_width"]) -> "Added":
        """What a change adds."""
        sets, moves = (problem.wanted, problem.others, problem.protected), bool(change.any())
        wanted, others, protected = (
            problem.added(at, change) if moves else torch.zeros_like(at.keys.values) for at in sets
        )
        return cls(wanted, others, protected, problem.through(change) if moves else torch.zeros_like(change))

    @classmethod
    def nothing(cls, problem: Problem, rows: slice) -> "Added":
        """What no change adds, over some outputs."""
        sets = (problem.wanted, problem.others, problem.protected)
        wanted, others, protected = (torch.zeros_like(at.written[:, rows]) for at in sets)
        return cls(wanted, others, protected, torch.zeros_like(problem.matrix[rows]))

    @classmethod
    def of_groups(cls, groups: Sequence["Added"]) -> "Added":
        """What is added over all outputs, from each group of them."""
        if len(groups) == 1:
            return groups[0]
        wanted, others, protected = (
            torch.cat([getattr(each, name) for each in groups], dim=1) for name in ("wanted", "others", "protected")
        )
        return cls(wanted, others, protected, torch.cat([each.ordinary for each in groups]))

    def sparing(self, units: Sequence[int]) -> "Added":
        """The same without what is added to some outputs."""
        for at in (self.wanted, self.others, self.protected):
            at[:, list(units)] = 0
        self.ordinary[list(units)] = 0
        return self

    def towards(self, other: "Added", share: float) -> "Added":
        """What is added by going part of the way to another change."""
        return Added(*(torch.lerp(getattr(self, at.name), getattr(other, at.name), share) for at in fields(self)))


@dataclass(frozen=True)
class Trial:
    """A change, and what the layer writes with it at the keys of a problem: computed once, when it is asked.

    Attributes:
        problem: The problem.
        change: Δ, one row for each output.
        known: What it adds, where that is known.
    """

    problem: Problem
    change: Float[Tensor, "outputs group_width"]
    known: Added | None = None

    def towards(self, aim: "Trial", share: float) -> "Trial":
        """Part of the way from this change to another."""
        if share == 1:
            return aim
        added = self.added.towards(aim.added, share)
        return Trial(self.problem, torch.lerp(self.change, aim.change, share), added)

    @cached_property
    def added(self) -> Added:
        """What the change adds, before demodulation."""
        return self.known or Added.of(self.problem, self.change)

    @cached_property
    def factor(self) -> Float[Tensor, "images outputs"]:
        """d(s, W + Δ) of every image of the goal; ones for a plain layer."""
        return self.problem.demodulation(self.change)

    @cached_property
    def wanted(self) -> Float[Tensor, "n outputs"]:
        """What is written at the wanted keys, after demodulation."""
        return self._written(self.problem.wanted, self.added.wanted)

    @cached_property
    def others(self) -> Float[Tensor, "n outputs"]:
        """What is written at the hard negatives, after demodulation."""
        return self._written(self.problem.others, self.added.others)

    @cached_property
    def protected(self) -> Float[Tensor, "n outputs"]:
        """What is written at the protected keys, after demodulation."""
        return self._written(self.problem.protected, self.added.protected)

    @cached_property
    def objective(self) -> float:
        """Σ a‖v - v*‖² over the wanted keys + Σ b‖v - v₀‖² over the others + λ E‖v - v₀‖² + μ Σ s²Δ²."""
        problem, goal, settings = self.problem, self.problem.goal, self.problem.settings
        total = self._missed
        total += _misses(goal.others, self.others, goal.others.values)
        total += problem.protect * _misses(goal.protected, self.protected, goal.protected.values)
        damage = self._damage(self.added.ordinary, problem.usual)
        return total + settings.damage * damage + settings.drift * self._tension

    def solution(self, path: tuple[float, ...] = ()) -> Solution:
        """The change as the solution of the problem, with the objective after each step on the way to it."""
        problem, goal = self.problem, self.problem.goal
        start = Trial(problem, torch.zeros_like(self.change))._missed
        usual, more = problem.usual, 0.0
        if problem.over_keys:
            usual = problem.exactly_usual
            more = problem.beyond_directions(self.factor.mean(dim=0)[:, None] * self.change)
        power = float(problem.first.mean(dim=0).square() @ _by_row(problem.matrix, usual))
        return Solution(
            change=self.change,
            objective=path,
            residual=(self._missed / max(start, 1e-300)) ** 0.5,
            damage=max(0.0, self._damage(self.added.ordinary, usual) + more) / max(power, 1e-300),
            drift=float((self.factor / problem.first).mean()),
            interference={
                name: float((values - keys.values).norm() / keys.values.norm())
                for name, values, keys in (
                    ("others", self.others, goal.others),
                    ("protected", self.protected, goal.protected),
                )
                if len(keys)
            },
        )

    @cached_property
    def _missed(self) -> float:
        """Σ a‖v - v*‖² over the wanted keys."""
        return _misses(self.problem.goal.wanted, self.wanted, self.problem.goal.targets)

    def _damage(self, ordinary: Tensor, usual: Tensor) -> float:
        """E‖v - v₀‖² at ordinary keys, with the mean demodulation of the goal's images, from Δ C and W C."""
        problem = self.problem
        factor, first = (each.mean(dim=0) for each in (self.factor, problem.first))
        moved = factor - first
        # Of ((f - f₀) W + f Δ) C ((f - f₀) W + f Δ)ᵀ, each term by its rows: nothing as large as W is made on the way.
        terms = (moved.square() * _by_row(problem.matrix, usual), 2 * moved * factor * _by_row(self.change, usual))
        return float(sum(terms, factor.square() * _by_row(self.change, ordinary)).sum())

    @property
    def _tension(self) -> float:
        """Σ s²Δ², with the mean demodulation of the goal's images before the change."""
        problem = self.problem
        moved, first = self.change.square(), problem.first.mean(dim=0).square()
        return sum(float(first[rows] @ moved[rows] @ problem.style_row[at]) for rows, at in problem.layer.blocks())

    def values(self, at: Mapped) -> Float[Tensor, "n outputs"]:
        """What is written at some keys, after demodulation."""
        return self._written(at, self.problem.added(at, self.change))

    def _written(self, at: Mapped, added: Tensor) -> Float[Tensor, "n outputs"]:
        return (at.written + added) * self.factor[at.keys.image]


def _by_row(left: Tensor, right: Tensor) -> Float[Tensor, " rows"]:
    """Each row of one times that of the other."""
    return torch.einsum("ok,ok->o", left, right)


def _misses(keys: Keys, values: Tensor, wanted: Tensor) -> float:
    """Σ a‖v - v*‖² over some keys, with their weights a."""
    return float((keys.weights @ (values - wanted).square()).sum()) if len(keys) else 0.0
