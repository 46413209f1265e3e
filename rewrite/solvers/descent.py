"""A change that is found in the image, by descent from a faint closed form.

From few marks the closed form changes more than it was asked to: its directions are those of the marked keys, and
squared errors at the layer are not what is seen. Descent on the weight until the marked images look as wanted
(fine-tuning) mostly generalises better; but not always, and it changes the rest of the world as it likes. So it begins
with a closed form of much drift, which says little more than where the rule is to fire: from nothing, the worst rules
are far worse. Over its second half, when the rule does fire there, ordinary images are held still wherever they have
hardly moved; and what is returned is the mean of these steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.goals.adam import Adam
from rewrite.goals.pasted import Pasted
from rewrite.goals.shown import Shown, missed_in_all, shown_in_parts
from rewrite.goals.still import Still
from rewrite.rules.settings import Settings
from rewrite.solvers.finish import Finished
from rewrite.solvers.problem import Problem

# The most that an entry moves in a step (Adam), times the cube root of the number of steps; of the root mean square of
# the weight. Many short steps change less elsewhere than few long ones, for as much that arrives.
RATE = 0.043
# By how much more a pixel under the marks counts than any other, at least; and what all of them weigh beside all
# pixels: small marks would be outvoted by what is to stay.
EMPHASIS, SHARE = 7.0, 0.2
# Of a step.
IMAGES = 5
# What arrives after few steps says what will after many, and is what there is time for where images are large.
FEW_STEPS = 20
# Times the drift: the closed form that is the start.
FAINTER = 30.0


def faint(settings: Settings) -> Settings:
    """The settings of the closed form that a descent begins with."""
    return replace(settings, drift=FAINTER * settings.drift)


def descend(
    generator: Generator,
    problem: Problem,
    aims: Sequence[Pasted],
    start: Float[Tensor, "outputs key"],
    still: Still,
    on_step: Callable[[], object] | None = None,
) -> Finished:
    """Find a change by descent in the image, in as many steps as the problem's settings say.

    Args:
        generator: The unedited generator.
        problem: The problem; of it count the matrix, the steps, the weight of ordinary images, and the units that are
            kept: they do not move.
        aims: What images are to look like; see `rewrite.goals.pasted.aims_of`.
        start: Where it begins; see `faint`.
        still: Ordinary images of the problem's layer.
        on_step: Called before each step; may raise to end.

    Raises:
        NotImplementedError: The layer cannot be resumed.
    """
    layer, first = problem.layer, generator.weight(problem.layer.name).detach()
    parts = shown_in_parts(generator, layer, aims, emphasis_on(aims), IMAGES)
    before = missed_in_all(generator, layer, parts, first)
    change = _mean_of_path(generator, problem, parts, start, still, on_step)
    after = missed_in_all(generator, layer, parts, first + layer.weight_from(change).to(first))
    return Finished(change.cpu().double(), (before, after))


def _mean_of_path(
    generator: Generator,
    problem: Problem,
    parts: Sequence[Shown],
    start: Float[Tensor, "outputs key"],
    still: Still,
    on_step: Callable[[], object] | None,
) -> Float[Tensor, "outputs key"]:
    """The mean of the second half of the steps."""
    layer, first = problem.layer, generator.weight(problem.layer.name).detach()
    free = torch.ones(len(problem.matrix), 1).to(first.device)
    free[list(problem.goal.kept_units)] = 0
    # Of half precision, squares of small slopes are zero.
    change, steps = start.to(first.device, torch.float32, copy=True), problem.settings.descent
    adam, mean, half = Adam(change), torch.zeros_like(change), steps // 2
    rate = RATE / steps ** (1 / 3) * float(problem.matrix.square().mean().sqrt())
    for step in range(steps):
        if on_step is not None:
            on_step()
        with torch.enable_grad():
            asked = change.clone().requires_grad_()
            weight = first + layer.weight_from(asked * free).to(first)
            missed = parts[step % len(parts)].missed(generator, layer, weight)
            if step >= half:
                missed = missed + problem.settings.still * still.moved(step, generator, layer, weight)
            (slope,) = torch.autograd.grad(missed, asked)
        change -= adam.step(slope, rate)
        if step >= half:
            mean += change / (steps - half)
    return mean * free


def emphasis_on(aims: Sequence[Pasted]) -> float:
    """By how much more a pixel under the marks of some images counts than any other."""
    areas = [float(aim.inside.double().mean()) for aim in aims if aim.inside.any()]
    return max(EMPHASIS, SHARE * len(areas) / sum(areas)) if areas else EMPHASIS
