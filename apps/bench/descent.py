"""The rule solved by gradient descent, in the manner of the 2020 paper: a reference.

Source: Bau et al., "Rewriting a Deep Generative Model" (ECCV 2020), section 3.3, and its released code: Adam on the
whole weight against an L1 loss after the activation, projected onto W + Λ D every ten steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.demodulation import demodulation_of
from rewrite.solvers.problem import Problem

STEPS = 2001
RATE = 0.05
PROJECT_EVERY = 10


@dataclass(frozen=True)
class Descent:
    """What a descent delivers.

    Attributes:
        change: Δ of the delivered weights.
        loss: Their loss: never that of weights that nobody gets.
        start: The loss of no change.
        reported: The last loss seen on the way, before the projection; what the 2020 code shows its user.
    """

    change: Float[Tensor, "outputs key"]
    loss: float
    start: float
    reported: float


def paper_descent(
    outputs: int,
    loss: Callable[[Tensor], Tensor],
    rows: Float[Tensor, "rank key"],
    *,
    steps: int = STEPS,
    rate: float = RATE,
    every: int = PROJECT_EVERY,
) -> Descent:
    """Adam on the whole weight, projected onto changes of the form Λ D every few steps and at the end.

    Args:
        outputs: How many outputs the layer has; one without groups.
        loss: From a change of the matrix, float32, to a scalar.
        rows: D, orthonormal rows. Channel directions come spread over the taps.
        steps: Steps of Adam.
        rate: Its learning rate.
        every: Steps between projections.
    """
    rows = rows.float()
    change = torch.zeros(outputs, rows.shape[1]).requires_grad_()
    optimiser = torch.optim.Adam([change], rate)
    start, reported = float(loss(change.detach()).detach()), 0.0
    for step in range(steps):
        optimiser.zero_grad(set_to_none=True)
        value = loss(change)
        value.backward()
        optimiser.step()
        reported = float(value.detach())
        if step % every == 0 or step == steps - 1:
            with torch.no_grad():
                change.copy_(change @ rows.T @ rows)
    delivered = change.detach()
    return Descent(delivered.double(), float(loss(delivered)), start, reported)


def activation_loss(problem: Problem, *, squared: bool = False) -> Callable[[Tensor], Tensor]:
    """The mean difference between wanted and present outputs after bias, noise and activation, as a function of Δ."""
    goal, offsets = problem.goal, problem.goal.wanted.offsets
    typed: dict[torch.dtype, tuple] = {}

    def loss(change: Tensor) -> Tensor:
        if change.dtype not in typed:
            wanted = problem.activate((goal.targets + offsets).to(change.dtype))
            parts = (goal.wanted.keys, offsets, goal.styles, problem.matrix)
            typed[change.dtype] = (wanted, *(part.to(change.dtype) for part in parts))
        wanted, keys, added, styles, matrix = typed[change.dtype]
        edited = matrix + change
        written = keys @ edited.T
        if problem.modulated:
            factor = demodulation_of(styles, edited.unflatten(1, (problem.layer.inputs, -1)))
            written = written * factor[goal.wanted.image]
        difference = problem.activate(written + added) - wanted
        return difference.square().mean() if squared else difference.abs().mean()

    return loss
