"""The polish: the loss after the activation, lowered within the rows of a change and within a bound of damage.

The demodulation of an output hangs on that output's row of the weight alone. So, with the rows D of a change Λ D held,
each output is a problem apart, with one unknown for each row. All of them are solved side by side by damped
Gauss-Newton steps, the absolute loss by squares that are weighed anew at each step. What holds them together is the
damage of all: it gets a price, and the price that meets the bound is searched for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.solvers.problem import Problem

NEGLIGIBLE = 1e-9
STEPS = 40
PRICES = 16
CLOSE = 0.95
FAR = 8.0
ENOUGH, QUIET = 1e-4, 2
SHARPEST = 1e-2
DAMPING, LESS, MORE = 1e-3, 0.2, 5.0
LARGEST_PART = 2**24


def polish(
    problem: Problem,
    change: Float[Tensor, "outputs key"],
    *,
    squared: bool = False,
    most_damage: float = math.inf,
    steps: int = STEPS,
) -> Float[Tensor, "outputs key"]:
    """Lower the loss of a change: the mean difference from what is wanted after bias, noise and activation.

    The loss knows nothing of damage: left alone, it trades much of it for little.

    Args:
        problem: The problem; a layer without groups.
        change: Where to start, the closed form's answer.
        squared: Whether differences count by their squares.
        most_damage: The answer has no more damage than this.
        steps: Most Gauss-Newton steps at each price of damage.

    Returns:
        The change of least loss that was found: never one of more loss than the start, where that has no more damage
        than is allowed, nor one of more loss than no change at all.
    """
    _, sizes, right = torch.linalg.svd(change, full_matrices=False)
    rows = right[sizes > NEGLIGIBLE * sizes[0]]
    if not len(rows):
        return change
    within = _Within(problem, rows, squared)
    start = reached = change @ rows.T
    best, least = torch.zeros_like(start), math.inf
    price, low, high = 0.0, 0.0, math.inf
    for tried in (best, start):
        loss, damage = within.told(tried)
        if damage <= most_damage and loss < least:
            best, least = tried, loss
    for _ in range(PRICES):
        # The demodulation of a large change forgets its size: an output may have a minimum nearby and one far away.
        starts = (start, reached if price else FAR * start)
        reached = within.lowest([within.lowered(each, price, steps) for each in starts], price)
        loss, damage = within.told(reached)
        fits = damage <= most_damage
        if fits and loss < least:
            best, least = reached, loss
        if fits and (price == 0 or damage > CLOSE * most_damage):
            break
        low, high = (low, price) if fits else (price, high)
        if not low:
            price = price / MORE if price else loss / damage
        else:
            price = MORE * price if high == math.inf else math.sqrt(low * high)
    return best @ rows


@dataclass(frozen=True)
class _Within:
    """A problem within some rows D: what each output adds to loss and damage, as functions of its factors Λ."""

    problem: Problem
    rows: Float[Tensor, "rank key"]
    squared: bool

    def lowered(self, factors: Float[Tensor, "outputs rank"], price: float, steps: int) -> Tensor:
        """The factors after some steps; an output takes a step only if its loss and priced damage fall."""
        value = self.loss(factors) + price * self.damage(factors)
        damping, quiet = torch.full_like(value, DAMPING), 0
        for _ in range(steps):
            models = zip(self._loss_model(factors), self._damage_model(factors), strict=True)
            slope, bend = (loss + price * damage for loss, damage in models)
            diagonal = bend.diagonal(dim1=1, dim2=2)
            ridge = damping[:, None] * diagonal + NEGLIGIBLE * diagonal.amax(dim=1, keepdim=True) + 1e-300
            trial = factors - torch.linalg.solve(bend + torch.diag_embed(ridge), slope)
            reached = self.loss(trial) + price * self.damage(trial)
            falls = reached < value
            gained = float((value - reached)[falls].sum())
            factors, value = torch.where(falls[:, None], trial, factors), torch.where(falls, reached, value)
            damping = damping * torch.where(falls, LESS, MORE)
            quiet = 0 if gained > ENOUGH * float(value.sum()) else quiet + 1
            if quiet == QUIET:
                break
        return factors

    def lowest(self, found: Sequence[Tensor], price: float) -> Float[Tensor, "outputs rank"]:
        """Of several factors, for each output those of least loss and priced damage."""
        values = torch.stack([self.loss(each) + price * self.damage(each) for each in found])
        return torch.stack(list(found))[values.argmin(dim=0), torch.arange(values.shape[1])]

    def told(self, factors: Tensor) -> tuple[float, float]:
        """Loss and damage of all outputs together."""
        return float(self.loss(factors).sum()), float(self.damage(factors).sum())

    def loss(self, factors: Float[Tensor, "outputs rank"]) -> Float[Tensor, " outputs"]:
        """What each output adds to the mean difference."""
        missed = self._activate(self._written(factors) * self._demodulation(factors)[0][self._image]) - self._wanted
        return (missed.square() if self.squared else missed.abs()).sum(dim=0) / missed.numel()

    def damage(self, factors: Float[Tensor, "outputs rank"]) -> Float[Tensor, " outputs"]:
        """What each output adds to E‖v - v₀‖² / E‖v₀‖² at ordinary keys."""
        inner, cross, own = self._products(factors)
        mean = self._demodulation(factors)[0].mean(dim=0)
        shift = mean - self._first
        return (shift.square() * own + 2 * shift * mean * cross + mean.square() * inner) / self._usual

    def _loss_model(self, factors: Tensor) -> tuple[Tensor, Tensor]:
        """Slope and Gauss-Newton matrix of the loss of each output; of the absolute one, of squares that touch it."""
        factor, tilt = self._demodulation(factors)
        written = self._written(factors)
        inputs = (written * factor[self._image]).requires_grad_()
        with torch.enable_grad():
            outputs = self._activate(inputs)
            (steepness,) = torch.autograd.grad(outputs.sum(), inputs)
        missed = outputs.detach() - self._wanted
        size = missed.abs()
        weights = (
            torch.full_like(size, 2.0) if self.squared else 1 / size.clamp(min=SHARPEST * float(size.mean()) + 1e-300)
        )
        weights = weights / missed.numel()
        slopes, bends = [], []
        for part in torch.arange(factors.shape[0]).split(max(1, LARGEST_PART // self._reach.numel())):
            moves = factor.T[part][:, self._image, None] * self._reach
            moves = moves + written.T[part][:, :, None] * tilt.movedim(1, 0)[part][:, self._image]
            moves = moves * steepness.T[part][:, :, None]
            weighed = moves * weights.T[part][:, :, None]
            slopes.append((weighed * missed.T[part][:, :, None]).sum(dim=1))
            bends.append(weighed.transpose(1, 2) @ moves)
        return torch.cat(slopes), torch.cat(bends)

    def _damage_model(self, factors: Tensor) -> tuple[Tensor, Tensor]:
        """Slope and Gauss-Newton matrix of the damage of each output."""
        inner, cross, own = self._products(factors)
        factor, tilt = self._demodulation(factors)
        mean, moves = factor.mean(dim=0)[:, None], tilt.mean(dim=0)
        shift = mean[:, 0] - self._first
        along = self._across + factors @ self._between
        moved = shift[:, None] * self._across + mean * (factors @ self._between)
        edited = shift * own + (mean[:, 0] + shift) * cross + mean[:, 0] * inner
        slope = mean * moved + moves * edited[:, None]
        mixed = mean[:, :, None] * moves[:, :, None] * along[:, None]
        bend = mean[:, :, None].square() * self._between + mixed + mixed.transpose(1, 2)
        bend = bend + moves[:, :, None] * moves[:, None] * (own + 2 * cross + inner)[:, None, None]
        return 2 * slope / self._usual, 2 * bend / self._usual

    def _demodulation(self, factors: Tensor) -> tuple[Float[Tensor, "images outputs"], Tensor]:
        """d(s, W + Λ D) of each image, and its slope in the factors of each output."""
        first = self.problem.first
        if not self.problem.modulated:
            return first, first.new_zeros(*first.shape, len(self.rows))
        slope, bend = self._energy
        tilt = slope + torch.einsum("or,irq->ioq", factors, bend)
        factor = (first.pow(-2) + ((slope + tilt) * factors).sum(dim=2)).rsqrt()
        return factor, -factor.pow(3)[:, :, None] * tilt

    @cached_property
    def _energy(self) -> tuple[Tensor, Tensor]:
        """Σ s² W Dᵀ of each image and output, and Σ s² D Dᵀ of each image."""
        inputs, power = self.problem.layer.inputs, self.problem.goal.styles.square()

        def summed(one: Tensor, other: Tensor) -> Tensor:
            return power @ (one * other).reshape(len(one), inputs, -1).sum(dim=2).T

        slope = torch.stack([summed(self.problem.matrix, row) for row in self.rows], dim=2)
        return slope, torch.stack([summed(self.rows, row) for row in self.rows], dim=2)

    def _products(self, factors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each output in the second moment: Λ D with itself, Λ D with W, W with itself."""
        inner, cross = (factors @ self._between * factors).sum(dim=1), (factors * self._across).sum(dim=1)
        return inner, cross, self._own

    @cached_property
    def _between(self) -> Float[Tensor, "rank rank"]:
        return self.rows @ self.problem.moment @ self.rows.T

    @cached_property
    def _across(self) -> Float[Tensor, "outputs rank"]:
        return self.problem.matrix @ self.problem.moment @ self.rows.T

    @cached_property
    def _own(self) -> Float[Tensor, " outputs"]:
        return (self.problem.matrix @ self.problem.moment * self.problem.matrix).sum(dim=1)

    @cached_property
    def _first(self) -> Float[Tensor, " outputs"]:
        return self.problem.first.mean(dim=0)

    @cached_property
    def _usual(self) -> float:
        """E‖v₀‖² at ordinary keys."""
        return max(float((self._first.square() * self._own).sum()), 1e-300)

    @cached_property
    def _reach(self) -> Float[Tensor, "n rank"]:
        return self.problem.goal.wanted.keys @ self.rows.T

    @cached_property
    def _wanted(self) -> Float[Tensor, "n outputs"]:
        return self._activate(self.problem.goal.targets)

    @property
    def _image(self) -> Tensor:
        return self.problem.goal.wanted.image

    def _written(self, factors: Tensor) -> Float[Tensor, "n outputs"]:
        return self.problem.wanted.written + self._reach @ factors.T

    def _activate(self, values: Tensor) -> Tensor:
        return self.problem.activate(values + self.problem.goal.wanted.offsets)
