"""A rule becomes a patch, in closed form: constrained least squares, repeated while the demodulation follows.

A modulated layer writes d(s, W) · W k with d = (Σ (W s)² + ε)^(-1/2) (Karras et al. 2020, eq. 3): the weight that is
edited also sits inside the factor. Each step solves the linear problem with the factor held, computes the factor of
the solution, and is taken only as far as it lowers the true objective, in which the factor follows the weight.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite import algebra
from rewrite.algebra import Metric
from rewrite.context import channel_rows, patch_rows
from rewrite.generators.contract import Generator, hash_of
from rewrite.goal import Goal, Keys, build_goal
from rewrite.joint import checked_strengths, join, joint_settings, weaken
from rewrite.layers import Layer
from rewrite.memory import Memory
from rewrite.patch import Patch
from rewrite.rule import Rule, Settings

EPSILON = 1e-8
HEAVY = 100.0
MOST_RESTORING_STEPS = 30
STEP_SIZES = (1.0, 0.5, 0.25, 0.1)
ENOUGH = 1e-3
EXACT = 1e-10
RIDGE = 1e-2


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


def solve(
    generator: Generator,
    memory: Memory,
    rule: Rule | Sequence[Rule],
    *,
    rank: int | None = None,
    strengths: Sequence[float] | None = None,
) -> Patch:
    """Solve a rule, or several rules of one layer together.

    Rules solved together do not undo one another, and the result does not hang on their order.

    Args:
        generator: The generator that the rules were written on.
        memory: The second moment of the rules' layer.
        rule: The rule, or the rules.
        rank: Number of directions; what the rules' settings say if left out.
        strengths: How much of each rule is wanted, 1 if left out.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: Rule, memory and generator do not belong together, the rules' settings differ where they act on the
            whole layer, or the rank is out of range.
    """
    rules = [rule] if isinstance(rule, Rule) else list(rule)
    if not rules:
        raise ValueError("solve needs at least one rule, got none")
    layers = sorted({each.layer for each in rules})
    if len(layers) > 1:
        raise ValueError(f"rules solved together must be of one layer, got {' and '.join(layers)}")
    memory.check(generator, layers[0])
    order = sorted(range(len(rules)), key=lambda i: rules[i].to_json())
    strengths = checked_strengths(strengths, len(rules))
    settings = joint_settings([rules[i].settings for i in order], rank)
    if memory.key_space != settings.key_space:
        raise ValueError(
            f"this rule is solved over {settings.key_space} keys, this memory is of {memory.key_space} keys"
        )
    goals = [weaken(build_goal(generator, rules[i]), strengths[i]) for i in order]
    layer = generator.layer(layers[0])
    solution = Problem.of(generator, memory, join(goals), settings).solve()
    return Patch.from_change(
        layer,
        solution.change,
        base=hash_of({"weight": generator.weight(layer.name)}),
        model=generator.fingerprint,
        rules=tuple(rules[i].to_json() for i in order),
        forecast={
            "residual": solution.residual,
            "damage": solution.damage,
            "drift": solution.drift,
            "interference": solution.interference,
            "objective": list(solution.objective),
        },
    )


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

    def solve(self) -> Solution:
        """The best change that the steps find; never one with a higher objective than no change at all."""
        change = torch.zeros_like(self.matrix)
        base = self.blocks
        path = [self.objective(change)]
        for _ in range(self.settings.steps if self.modulated else 1):
            aim = torch.cat([block.step(self, change) for block in base])
            taken = self._descend(change, aim, path[-1])
            if taken is None:
                break
            change, value = taken
            path.append(value)
            if path[-2] - path[-1] < ENOUGH * path[-2]:
                break
        if self.exact and self.modulated and change.any():
            restored = self._restored(base[0], change)
            change = restored if self.objective(restored) < path[0] else torch.zeros_like(change)
            path.append(self.objective(change))
        if self.settings.rank is not None and self.settings.constraint == "written":
            nothing = torch.zeros_like(change)
            lower = torch.cat([block.truncate(self, change) for block in base])
            # The demodulation moves with the weight: the full step of a lower rank may be too far.
            change, value = self._descend(nothing, lower, path[0]) or (nothing, path[0])
            path.append(value)
        return self.describe(change, tuple(path))

    def _restored(self, block: "_Block", change: Tensor) -> Tensor:
        """The change nearby that leaves what a modulated layer writes at the protected keys exactly as it was.

        Newton's method for d(s, w) w·k = v₀, row by row of the weight, within the directions H⁻¹k that serve the keys
        at the least cost.

        Raises:
            ValueError: There is no such change nearby.
        """
        kept, matrix = self.goal.protected, self.matrix + change
        across = block.metric.solve(kept.keys) if block.within is None else block.within
        power = self.goal.styles.square()[kept.image].repeat_interleave(self.layer.taps, dim=1)
        reach = kept.keys @ across.T
        for _ in range(MOST_RESTORING_STEPS):
            factor = (power @ matrix.square().T + EPSILON).rsqrt()
            values = kept.keys @ matrix.T * factor
            missing = kept.values - values
            if missing.norm() <= EXACT * kept.values.norm():
                return matrix - self.matrix
            spread = torch.einsum("nk,ok,rk->onr", power, matrix, across)
            slopes = factor.T[:, :, None] * reach - (values * factor.square()).T[:, :, None] * spread
            matrix = (
                matrix + torch.linalg.lstsq(slopes, missing.T[:, :, None], driver="gelsd").solution[..., 0] @ across
            )
        raise ValueError(
            "the protected places cannot all be kept exactly: protect fewer, allow a higher rank, or protect by weight"
        )

    @cached_property
    def blocks(self) -> list["_Block"]:
        """The least-squares problem of each group, factored: what solving once more need not do again."""
        return [self._block(rows, columns) for rows, columns in self.layer.blocks()]

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

    def values(self, keys: Keys, change: Tensor, factor: Tensor) -> Float[Tensor, "n outputs"]:
        """What the edited layer writes for some keys, after demodulation."""
        written = self.written(keys) + (self._map(keys, change) if change.any() else 0)
        return written * factor[keys.image]

    def written(self, keys: Keys) -> Float[Tensor, "n outputs"]:
        """What the unedited layer writes for some keys, before demodulation; the same keys are not mapped twice."""
        if id(keys.keys) not in self._written:
            # The keys are kept beside the values, so that their place in memory is not given to others.
            self._written[id(keys.keys)] = (keys.keys, self._map(keys, self.matrix))
        return self._written[id(keys.keys)][1]

    _written = cached_property(lambda self: {})

    def _map(self, keys: Keys, matrix: Tensor) -> Tensor:
        parts = [keys.keys[:, columns] @ matrix[rows].T for rows, columns in self.layer.blocks()]
        return torch.cat(parts, dim=1)

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
        first = self.demodulation(torch.zeros_like(change)).mean(dim=0)[:, None]
        moved = factor.mean(dim=0)[:, None] * (self.matrix + change) - first * self.matrix
        return sum(algebra.price(moved[rows], self.moment[columns, columns]) for rows, columns in self.layer.blocks())

    def _tension(self, change: Tensor) -> float:
        first = self.demodulation(torch.zeros_like(change)).mean(dim=0)[:, None]
        power = self.style_row
        return sum(
            float(((first[rows] * change[rows]).square() * power[columns]).sum())
            for rows, columns in self.layer.blocks()
        )

    @property
    def style_row(self) -> Float[Tensor, " key"]:
        """E[s²] repeated over the taps."""
        return self.style_power.repeat_interleave(self.layer.taps)

    def _block(self, rows: slice, columns: slice) -> "_Block":
        settings, goal = self.settings, self.goal
        moment = settings.damage * self.moment[columns, columns]
        metric = Metric(moment + settings.drift * torch.diag(self.style_row[columns]))
        soft = [goal.others]
        if self.protect > 0:
            soft.append(replace(goal.protected, weights=goal.protected.weights * self.protect))
        for keys in soft:
            if len(keys):
                metric = metric.with_keys(keys.keys[:, columns], keys.weights)
        within = None
        if settings.rank is not None and settings.constraint == "fires":
            within = self._directions(columns, metric, settings.rank)
        return _Block(rows, columns, metric, moment, tuple(soft), within)

    def _directions(self, columns: slice, metric: Metric, rank: int) -> Float[Tensor, "rows key"]:
        """The rows that a change may use when it is confined to where the rule fires.

        Patch keys: `rank` patterns of the whole receptive field. Channel keys, as in the 2020 paper: `rank` mixtures
        of channels, each free at every tap.
        """
        context, taps = self.goal.context[:, columns], self.layer.taps
        if self.settings.key_space == "patch":
            return torch.linalg.qr(patch_rows(context, metric.matrix, self.layer, rank).T).Q.T
        moment = self.moment[columns, columns][::taps, ::taps]
        ridge = RIDGE * moment.diagonal().mean() * torch.eye(len(moment), dtype=moment.dtype)
        return channel_rows(context, moment + ridge, self.layer, rank)

    def _descend(self, change: Tensor, aim: Tensor, value: float) -> tuple[Tensor, float] | None:
        for size in STEP_SIZES:
            trial = torch.lerp(change, aim, size)
            reached = self.objective(trial)
            if reached < value:
                return trial, reached
        return None

    def rows(self) -> Float[Tensor, "rows key"] | None:
        """The rows that a change is confined to, or None where it is free; for a layer without groups."""
        return self.blocks[0].within

    def describe(self, change: Float[Tensor, "outputs key"], path: tuple[float, ...] = ()) -> Solution:
        """What a change does to the numbers of this problem."""
        factor, nothing = self.demodulation(change), torch.zeros_like(change)
        first = self.demodulation(nothing)
        goal = self.goal
        start = self._misses(goal.wanted, goal.targets, nothing, first)
        usual = sum(
            algebra.price((first.mean(dim=0)[:, None] * self.matrix)[rows], self.moment[columns, columns])
            for rows, columns in self.layer.blocks()
        )
        return Solution(
            change=change,
            objective=path,
            residual=(self._misses(goal.wanted, goal.targets, change, factor) / max(start, 1e-300)) ** 0.5,
            damage=self._damage(change, factor) / max(usual, 1e-300),
            drift=float((factor / first).mean()),
            interference={
                name: float((self.values(keys, change, factor) - keys.values).norm() / keys.values.norm())
                for name, keys in (("others", goal.others), ("protected", goal.protected))
                if len(keys)
            },
        )


@dataclass(frozen=True)
class _Block:
    """One group of a layer: its own least-squares problem, with the metric factored once for all steps."""

    rows: slice
    columns: slice
    metric: Metric
    moment: Tensor
    soft: tuple[Keys, ...]
    within: Tensor | None

    def step(self, problem: Problem, change: Tensor) -> Float[Tensor, "rows columns"]:
        """Solve with the demodulation held at that of the present change."""
        goal = problem.goal
        factor, first = (problem.demodulation(at)[:, self.rows] for at in (change, torch.zeros_like(change)))
        keys = goal.wanted.keys[:, self.columns]
        residual = goal.targets[:, self.rows] / factor[goal.wanted.image] - problem.written(goal.wanted)[:, self.rows]
        relative = (factor / factor.mean(dim=0)).square().mean(dim=1)
        hard = goal.protected if problem.exact and not problem.modulated else None
        ratio = first / factor
        weights, pull = goal.wanted.weights * relative[goal.wanted.image], self._pull(problem, ratio)
        fixed = None if hard is None else hard.keys[:, self.columns]
        if self.within is None:
            return algebra.minimise(self.metric, keys, residual, weights, fixed=fixed, pull=pull)
        across = self.within.T
        return (
            algebra.minimise(
                Metric(self.within @ self.metric.matrix @ across),
                keys @ across,
                residual,
                weights,
                fixed=None if fixed is None else fixed @ across,
                pull=pull @ across,
            )
            @ self.within
        )

    def _kept(self, problem: Problem, keys: Keys, ratio: Tensor) -> Tensor:
        """What a key needs beyond W k so that its value stays while the demodulation moves."""
        return problem.written(keys)[:, self.rows] * (ratio[keys.image] - 1)

    def _pull(self, problem: Problem, ratio: Tensor) -> Tensor:
        """The gradient that keeps the values of hard negatives and of ordinary keys where they were."""
        pull = (ratio.mean(dim=0)[:, None] - 1) * (problem.matrix[self.rows] @ self.moment)
        for keys in self.soft:
            if len(keys):
                wanted = keys.weights[:, None] * self._kept(problem, keys, ratio)
                pull = pull + wanted.T @ keys.keys[:, self.columns]
        return pull

    def truncate(self, problem: Problem, change: Tensor) -> Float[Tensor, "rows columns"]:
        """The best change of the rank that the settings ask for, at its present demodulation."""
        goal = problem.goal
        joined = self.metric.with_keys(goal.wanted.keys[:, self.columns], goal.wanted.weights)
        # Rows are weighed by the demodulation, so that the error is counted in what the layer writes.
        first = problem.demodulation(torch.zeros_like(problem.matrix)).mean(dim=0)[self.rows, None]
        return algebra.truncate(change[self.rows] * first, joined, problem.settings.rank) / first
