"""The last steps of a solution, taken in the image: the weight is adjusted until the marked images look as wanted.

The closed form counts squared errors of what the layer writes; people see what the image shows. From a closed form that
is nearly right, few steps of gradient descent through the rest of the network are enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.goals.adam import Adam
from rewrite.goals.pasted import Pasted
from rewrite.goals.refine import EMPHASIS
from rewrite.goals.shown import missed_in_all, shown_in_parts
from rewrite.solvers.problem import Problem

# Of the root mean square of the weight, the most that an entry moves in a step (Adam), before it is preconditioned.
RATE = 0.015


@dataclass(frozen=True)
class Finished:
    """A change that was adjusted in the image.

    Attributes:
        change: Δ, one row for each output.
        missed: What was missing in the marked images before and afterwards: mean absolute difference from the pasted
            pictures, with pasted pixels counted five times.
    """

    change: Float[Tensor, "outputs key"]
    missed: tuple[float, float]


def finish(
    generator: Generator, problem: Problem, aims: Sequence[Pasted], change: Float[Tensor, "outputs key"], steps: int
) -> Finished:
    """Adjust a change by preconditioned Adam, with a rate that falls to zero over the last quarter of the steps.

    Args:
        generator: The unedited generator.
        problem: The problem that the change is a solution of; units that it keeps do not move.
        aims: What images are to look like; see `rewrite.goals.pasted.aims_of`.
        change: The closed-form solution.
        steps: Number of steps, of up to eight images each.

    Raises:
        NotImplementedError: The layer cannot be resumed.
    """
    layer, first = problem.layer, generator.weight(problem.layer.name).detach()
    free = torch.ones(len(change), 1).to(first.device)
    free[list(problem.goal.kept_units)] = 0
    parts, preconditioned = shown_in_parts(generator, layer, aims, EMPHASIS), problem.preconditioner
    # Of half precision, squares of small slopes are zero.
    start = change.float().to(first.device)
    steps_taken = torch.zeros_like(start)
    rate = RATE * float(problem.matrix.square().mean().sqrt())
    adam = Adam(steps_taken)

    def weight(steps: Tensor) -> Tensor:
        return first + layer.weight_from(start + preconditioned(steps) * free).to(first)

    before = missed_in_all(generator, layer, parts, weight(steps_taken))
    with torch.enable_grad():
        for step in range(steps):
            asked = steps_taken.clone().requires_grad_()
            part = parts[step % len(parts)]
            (slope,) = torch.autograd.grad(part.missed(generator, layer, weight(asked)), asked)
            steps_taken -= adam.step(slope, rate * falling(step, steps))
    after = missed_in_all(generator, layer, parts, weight(steps_taken))
    moved = change + (preconditioned(steps_taken) * free).cpu().double()
    return Finished(moved, (before, after))


def falling(step: int, steps: int) -> float:
    """The share of the rate that a step has: all of it, and over the last quarter of the steps less and less."""
    return min(1.0, 4 * (1 - step / steps))
