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
from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer
from rewrite.goals.adam import Adam
from rewrite.goals.pasted import Pasted
from rewrite.goals.refine import EMPHASIS
from rewrite.goals.scene import latents_of
from rewrite.solvers.problem import Problem

# Of the root mean square of the weight, the most that an entry moves in a step (Adam), before it is preconditioned.
RATE = 0.015
BATCH = 8


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
    free = torch.ones(len(change), 1).to(first)
    free[list(problem.goal.kept_units)] = 0
    parts, preconditioned = _parts(generator, layer, aims), problem.preconditioner
    start = change.to(first)
    steps_taken = torch.zeros_like(start)
    rate = RATE * float(problem.matrix.square().mean().sqrt())
    adam = Adam(steps_taken)

    def weight(steps: Tensor) -> Tensor:
        return first + layer.weight_from(start + preconditioned(steps) * free)

    before = _missed(generator, layer, parts, weight(steps_taken))
    with torch.enable_grad():
        for step in range(steps):
            asked = steps_taken.clone().requires_grad_()
            part = parts[step % len(parts)]
            (slope,) = torch.autograd.grad(part.missed(generator, layer, weight(asked)), asked)
            steps_taken -= adam.step(slope, rate * falling(step, steps))
    after = _missed(generator, layer, parts, weight(steps_taken))
    moved = change + (preconditioned(steps_taken) * free).cpu().double()
    return Finished(moved, (before, after))


def falling(step: int, steps: int) -> float:
    """The share of the rate that a step has: all of it, and over the last quarter of the steps less and less."""
    return min(1.0, 4 * (1 - step / steps))


@dataclass(frozen=True)
class _Part:
    """Some of the marked images, run up to the layer."""

    cut: Cut
    wanted: Float[Tensor, "images 3 height width"]
    weights: Float[Tensor, "images 1 height width"]

    def missed(self, generator: Generator, layer: Layer, weight: Tensor) -> Tensor:
        """Mean absolute difference from what is wanted, with the layer's weight."""
        factor = generator.demodulation(layer.name, self.cut.style, weight)
        written = layer.apply(self.cut.features, weight)
        images = generator.resume(layer.name, self.cut, written, factor)
        return ((images - self.wanted).abs() * self.weights).mean()


@torch.no_grad()
def _missed(generator: Generator, layer: Layer, parts: Sequence[_Part], weight: Tensor) -> float:
    found = [float(part.missed(generator, layer, weight)) * len(part.wanted) for part in parts]
    return sum(found) / sum(len(part.wanted) for part in parts)


@torch.no_grad()
def _parts(generator: Generator, layer: Layer, aims: Sequence[Pasted]) -> list[_Part]:
    """The images in parts of about one size; a part's run up to the layer is kept, and is the same in all its steps."""
    count, parts = -(-len(aims) // BATCH), []
    for start in range(count):
        some = aims[start::count]
        cut = generator.cut(layer.name, latents_of(generator, [aim.latent for aim in some]))
        wanted = torch.stack([aim.wanted for aim in some]).to(cut.features)
        weights = 1 + EMPHASIS * torch.stack([aim.inside for aim in some])[:, None].to(wanted)
        parts.append(_Part(cut, wanted, weights))
    return parts
