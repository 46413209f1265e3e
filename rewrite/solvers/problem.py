"""What an edit of one layer is to achieve and what it costs, in numbers: what every solver lowers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.generators.layers import Layer
from rewrite.goals.goal import Goal
from rewrite.goals.keys import Keys
from rewrite.memory import Memory
from rewrite.rules.rule import Settings
from rewrite.solvers import algebra

EPSILON = 1e-8
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


@dataclass(frozen=True)
class Problem:
    """Everything that the solution of a goal at one layer hangs on, in float64.

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
        matrix = layer.matrix(generator.weight(layer.name)).detach().double().cpu()
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
    def protect(self) -> float:
        """Weight of the protected places; a heavy one on the way to keeping them exactly."""
        return HEAVY if self.settings.protect == math.inf else self.settings.protect

    @property
    def modulated(self) -> bool:
        """Whether the layer's output is demodulated by its own weight."""
        return self.layer.modulated and self.goal.styles.shape[1] > 0

    def demodulation(self, change: Tensor) -> Float[Tensor, "images outputs"]:
        """d(s, W + Δ) of every image of the goal; ones for a plain layer."""
        if not self.modulated:
            return torch.ones(max(1, len(self.goal.styles)), len(self.matrix), dtype=torch.float64)
        power = (self.matrix + change).square().reshape(len(self.matrix), self.layer.inputs, -1).sum(dim=2)
        return (self.goal.styles.square() @ power.T + EPSILON).rsqrt()

    @cached_property
    def first(self) -> Float[Tensor, "images outputs"]:
        """d(s, W) of every image of the goal, before any change."""
        return self.demodulation(torch.zeros_like(self.matrix))

    def values(self, keys: Keys, change: Tensor, factor: Tensor) -> Float[Tensor, "n outputs"]:
        """What the edited layer writes for some keys, after demodulation."""
        return (self.written(keys) + self._added(keys, change)) * factor[keys.image]

    def _added(self, keys: Keys, change: Tensor) -> Tensor | float:
        """What a change adds to what is written, before demodulation; asked twice in a row, it is computed once."""
        known = self._last.get(id(keys.keys))
        if known is None or known[0] is not keys.keys or known[1] is not change or known[2] != change._version:
            added = self.layer.values(keys.keys, change) if change.any() else 0.0
            self._last[id(keys.keys)] = known = (keys.keys, change, change._version, added)
        return known[3]

    @cached_property
    def _last(self) -> dict[int, tuple[Tensor, Tensor, int, Tensor | float]]:
        return {}

    def written(self, keys: Keys) -> Float[Tensor, "n outputs"]:
        """What the unedited layer writes for some keys, before demodulation; the same keys are not mapped twice."""
        if id(keys.keys) not in self._written:
            # The keys are kept beside the values, so that their place in memory is not given to others.
            self._written[id(keys.keys)] = (keys.keys, self.layer.values(keys.keys, self.matrix))
        return self._written[id(keys.keys)][1]

    @cached_property
    def _written(self) -> dict[int, tuple[Tensor, Tensor]]:
        return {}

    def objective(self, change: Float[Tensor, "outputs group_width"]) -> float:
        """Σ a‖v - v*‖² over the wanted keys + Σ b‖v - v₀‖² over the others + λ E‖v - v₀‖² + μ Σ s²Δ²."""
        factor = self.demodulation(change)
        total = self._misses(self.goal.wanted, self.goal.targets, change, factor)
        total += self._misses(self.goal.others, self.goal.others.values, change, factor)
        total += self.protect * self._misses(self.goal.protected, self.goal.protected.values, change, factor)
        return total + self.settings.damage * self._damage(change, factor) + self.settings.drift * self._tension(change)

    def _misses(self, keys: Keys, wanted: Tensor, change: Tensor, factor: Tensor) -> float:
        if not len(keys):
            return 0.0
        return float((keys.weights @ (self.values(keys, change, factor) - wanted).square()).sum())

    def _damage(self, change: Tensor, factor: Tensor) -> float:
        """E‖v - v₀‖² at ordinary keys, with the mean demodulation of the goal's images."""
        return self._power(factor.mean(dim=0)[:, None] * (self.matrix + change) - self._usual)

    def _power(self, matrix: Tensor) -> float:
        """E‖v‖² of what a matrix writes at ordinary keys."""
        return sum(algebra.price(matrix[rows], self.moment[columns, columns]) for rows, columns in self.layer.blocks())

    @cached_property
    def _usual(self) -> Tensor:
        """The unedited matrix, with the mean demodulation of the goal's images."""
        return self.first.mean(dim=0)[:, None] * self.matrix

    @cached_property
    def _usual_power(self) -> float:
        """E‖v₀‖² at ordinary keys."""
        return max(self._power(self._usual), 1e-300)

    def _tension(self, change: Tensor) -> float:
        moved, power = (self.first.mean(dim=0)[:, None] * change).square(), self.style_row
        return sum(float((moved[rows] * power[columns]).sum()) for rows, columns in self.layer.blocks())

    @property
    def style_row(self) -> Float[Tensor, " key"]:
        """E[s²] repeated over the taps."""
        return self.style_power.repeat_interleave(self.layer.taps)

    def describe(self, change: Float[Tensor, "outputs key"], path: tuple[float, ...] = ()) -> Solution:
        """What a change does to the numbers of this problem."""
        factor, goal = self.demodulation(change), self.goal
        missed = self._misses(goal.wanted, goal.targets, change, factor)
        start = self._misses(goal.wanted, goal.targets, torch.zeros_like(change), self.first)
        return Solution(
            change=change,
            objective=path,
            residual=(missed / max(start, 1e-300)) ** 0.5,
            damage=self._damage(change, factor) / self._usual_power,
            drift=float((factor / self.first).mean()),
            interference={
                name: float((self.values(keys, change, factor) - keys.values).norm() / keys.values.norm())
                for name, keys in (("others", goal.others), ("protected", goal.protected))
                if len(keys)
            },
        )
