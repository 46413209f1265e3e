"""What an edit of one layer is to achieve and what it costs, in numbers: what every solver minimises."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.generators.demodulation import demodulation_of
from rewrite.generators.layers import Layer
from rewrite.goals.goal import Goal
from rewrite.goals.keys import Keys
from rewrite.memory import Memory
from rewrite.rules.rule import Settings
from rewrite.solvers import algebra

HEAVY = 100.0


@dataclass(frozen=True)
class Solution:
    """A change of a layer's matrix, and what it does to the numbers that it was solved for.

    Attributes:
        change: Δ, one row for each output.
        objective: The true objective after each accepted step; the first is that of no change.
        residual: Share of the wanted change that is missing, ‖v* - v‖ / ‖v* - v₀‖ over the wanted keys.
        damage: Expected relative change at ordinary keys, E‖v - v₀‖² / E‖v₀‖².
        drift: Mean ratio of the demodulation to what it was.
        interference: Relative change at the hard negatives and at the protected keys, ‖v - v₀‖ / ‖v₀‖.
    """

    change: Float[Tensor, "outputs key"]
    objective: tuple[float, ...]
    residual: float
    damage: float
    drift: float
    interference: dict[str, float]

    def forecast(self) -> dict[str, Any]:
        """What a patch says of it, as JSON holds it."""
        return {
            "residual": self.residual,
            "damage": self.damage,
            "drift": self.drift,
            "interference": self.interference,
            "objective": list(self.objective),
        }


@dataclass(frozen=True)
class Mapped:
    """Keys of a goal, and what the unedited layer writes for them.

    Attributes:
        keys: The keys.
        written: What the layer writes for each, before demodulation.
    """

    keys: Keys
    written: Float[Tensor, "n outputs"]

    def where(self, chosen: Bool[Tensor, " n"]) -> "Mapped":
        """Some of the keys."""
        return Mapped(self.keys.where(chosen), self.written[chosen])


@dataclass(frozen=True)
class Problem:
    """Everything that the solution of a goal at one layer depends on, in float64.

    Attributes:
        matrix: W.
        moment: C = E[k kᵀ] of patch keys.
        style_power: E[s²] of the modulation, for each input.
        goal: What is to be achieved.
        settings: How.
        activate: What follows the bias, for losses after the activation.
    """

    layer: Layer
    matrix: Float[Tensor, "outputs group_width"]
    moment: Float[Tensor, "key key"]
    style_power: Float[Tensor, " inputs"]
    goal: Goal
    settings: Settings
    activate: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, generator: Generator, memory: Memory, goal: Goal, settings: Settings) -> "Problem":
        """Set the problem up from a memory of either key space."""
        layer = generator.layer(memory.layer)
        matrix = layer.matrix(generator.weight(layer.name)).detach().cpu().double()
        moment = memory.patch_moment(layer)
        power = memory.mean_style_power
        if len(power) == 0:
            # A plain layer has no modulation; the energy of each input plays its part as a ridge.
            power = moment.diagonal().reshape(layer.inputs, -1).mean(dim=1)
        return cls(layer, matrix, moment, power, goal, settings, generator.activation(layer.name))

    @property
    def exact(self) -> bool:
        """Whether protected places are kept exactly."""
        return self.settings.protect == math.inf and len(self.goal.protected) > 0

    @property
    def finishes(self) -> bool:
        """Whether the change is adjusted in the image afterwards: only where nothing confines it."""
        return self.settings.finish > 0 and self.settings.rank is None and not self.exact

    @property
    def protect(self) -> float:
        """Weight of the protected places; a heavy one on the way to keeping them exactly."""
        return HEAVY if self.settings.protect == math.inf else self.settings.protect

    @property
    def modulated(self) -> bool:
        """Whether the layer's output is demodulated by its own weight."""
        return self.layer.modulated

    def demodulation(self, change: Tensor) -> Float[Tensor, "images outputs"]:
        """d(s, W + Δ) of every image of the goal; ones for a plain layer."""
        if not self.modulated:
            return torch.ones(len(self.goal.styles), len(self.matrix), dtype=torch.float64)
        return demodulation_of(self.goal.styles, (self.matrix + change).unflatten(1, (self.layer.inputs, -1)))

    @cached_property
    def first(self) -> Float[Tensor, "images outputs"]:
        """d(s, W) of every image of the goal, before any change."""
        return self.demodulation(torch.zeros_like(self.matrix))

    @cached_property
    def wanted(self) -> Mapped:
        """The goal's wanted keys."""
        return self._mapped(self.goal.wanted)

    @cached_property
    def others(self) -> Mapped:
        """The goal's hard negatives."""
        return self._mapped(self.goal.others)

    @cached_property
    def protected(self) -> Mapped:
        """The goal's protected keys."""
        return self._mapped(self.goal.protected)

    def _mapped(self, keys: Keys) -> Mapped:
        return Mapped(keys, self.layer.values(keys.keys, self.matrix))

    def tried(self, change: Float[Tensor, "outputs group_width"]) -> "Trial":
        """What a change would do; it must not be written into while that is asked."""
        return Trial(self, change)

    def objective(self, change: Float[Tensor, "outputs group_width"]) -> float:
        """Σ a‖v - v*‖² over the wanted keys + Σ b‖v - v₀‖² over the others + λ E‖v - v₀‖² + μ Σ s²Δ²."""
        return self.tried(change).objective

    def describe(self, change: Float[Tensor, "outputs group_width"]) -> Solution:
        """What a change does to the numbers of this problem."""
        return self.tried(change).solution()

    def power(self, matrix: Float[Tensor, "outputs group_width"]) -> float:
        """E‖v‖² of what a matrix writes at ordinary keys."""
        return sum(algebra.price(matrix[rows], self.moment[columns, columns]) for rows, columns in self.layer.blocks())

    @cached_property
    def usual(self) -> Float[Tensor, "outputs group_width"]:
        """The unedited matrix, with the mean demodulation of the goal's images."""
        return self.first.mean(dim=0)[:, None] * self.matrix

    @cached_property
    def usual_power(self) -> float:
        """E‖v₀‖² at ordinary keys."""
        return max(self.power(self.usual), 1e-300)

    @property
    def style_row(self) -> Float[Tensor, " key"]:
        """E[s²] repeated over the taps."""
        return self.style_power.repeat_interleave(self.layer.taps)


@dataclass(frozen=True)
class Trial:
    """A change, and what the layer writes with it at the keys of a problem: computed once, when it is asked.

    Attributes:
        problem: The problem.
        change: Δ, one row for each output.
    """

    problem: Problem
    change: Float[Tensor, "outputs group_width"]

    @cached_property
    def factor(self) -> Float[Tensor, "images outputs"]:
        """d(s, W + Δ) of every image of the goal; ones for a plain layer."""
        return self.problem.demodulation(self.change)

    @cached_property
    def wanted(self) -> Float[Tensor, "n outputs"]:
        """What is written at the wanted keys, after demodulation."""
        return self.values(self.problem.wanted)

    @cached_property
    def others(self) -> Float[Tensor, "n outputs"]:
        """What is written at the hard negatives, after demodulation."""
        return self.values(self.problem.others)

    @cached_property
    def protected(self) -> Float[Tensor, "n outputs"]:
        """What is written at the protected keys, after demodulation."""
        return self.values(self.problem.protected)

    @cached_property
    def objective(self) -> float:
        """Σ a‖v - v*‖² over the wanted keys + Σ b‖v - v₀‖² over the others + λ E‖v - v₀‖² + μ Σ s²Δ²."""
        problem, goal, settings = self.problem, self.problem.goal, self.problem.settings
        total = self._missed
        total += _misses(goal.others, self.others, goal.others.values)
        total += problem.protect * _misses(goal.protected, self.protected, goal.protected.values)
        return total + settings.damage * self._damage + settings.drift * self._tension

    def solution(self, path: tuple[float, ...] = ()) -> Solution:
        """The change as the solution of the problem, with the objective after each step on the way to it."""
        problem, goal = self.problem, self.problem.goal
        start = problem.tried(torch.zeros_like(self.change))._missed
        return Solution(
            change=self.change,
            objective=path,
            residual=(self._missed / max(start, 1e-300)) ** 0.5,
            damage=self._damage / problem.usual_power,
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

    @cached_property
    def _damage(self) -> float:
        """E‖v - v₀‖² at ordinary keys, with the mean demodulation of the goal's images."""
        problem = self.problem
        return problem.power(self.factor.mean(dim=0)[:, None] * (problem.matrix + self.change) - problem.usual)

    @property
    def _tension(self) -> float:
        """Σ s²Δ², with the mean demodulation of the goal's images before the change."""
        problem = self.problem
        moved = (problem.first.mean(dim=0)[:, None] * self.change).square()
        return sum(float((moved[rows] * problem.style_row[columns]).sum()) for rows, columns in problem.layer.blocks())

    def values(self, at: Mapped) -> Float[Tensor, "n outputs"]:
        """What is written at some keys, after demodulation."""
        added = self.problem.layer.values(at.keys.keys, self.change) if self.change.any() else 0.0
        return (at.written + added) * self.factor[at.keys.image]


def _misses(keys: Keys, values: Tensor, wanted: Tensor) -> float:
    """Σ a‖v - v*‖² over some keys, with their weights a."""
    return float((keys.weights @ (values - wanted).square()).sum()) if len(keys) else 0.0
