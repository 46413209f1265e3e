"""Left-out images, drawn: what would be seen in marked images that a solution does not know."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from rewrite.generators.contract import Generator
from rewrite.goals.pasted import Moved, Pasted, pasted_images
from rewrite.goals.scene import latents_of
from rewrite.rules.rule import Rule, Settings
from rewrite.solvers.finish import finish
from rewrite.solvers.leave_out import refits, worth_of
from rewrite.solvers.problem import Problem

# Drawing is what takes time where a network is large: so many images of each part that is left out.
MOST_OF_A_FOLD = 2


@dataclass(frozen=True)
class Drawn:
    """What solutions do to the pictures of marked images that they were not solved on.

    Attributes:
        arrives: Share of the way to the pasted picture that the pixels under the marks went, along that way.
        strays: Change of all other pixels: root of its mean square, for images in [-1, 1].
        each: What arrives in each image.
    """

    arrives: float
    strays: float
    each: tuple[float, ...]

    @property
    def worth(self) -> float:
        """What arrives for what changes beside it."""
        return worth_of(self.arrives, self.strays)

    @classmethod
    def of(cls, moved: Sequence[Moved]) -> "Drawn":
        """The sums over images as shares."""
        together = Moved.together(moved)
        return cls(together.arrives, together.strays, tuple(each.arrives for each in moved))

    def forecast(self) -> dict[str, Any]:
        """As a patch's forecast holds it."""
        return {**asdict(self), "each": list(self.each)}


@torch.no_grad()
def draw_left_out(
    generator: Generator,
    rules: Sequence[Rule],
    problem: Problem,
    candidates: Sequence[Settings],
    folds: Sequence[Sequence[int]],
    *,
    steps: int = 0,
    on_refit: Callable[[], object] | None = None,
) -> list[Drawn]:
    """Draw images that are left out with each of several settings.

    Only the part of the network behind the layer is run.

    Args:
        generator: The generator.
        rules: The rules of the problem's goal, in its order.
        problem: The problem with all its marked images.
        candidates: The settings, as `left_out` takes them.
        folds: The images that are left out together.
        steps: Steps of the finish that each solution gets on the images that it knows.
        on_refit: As `left_out` takes it.

    Raises:
        NotImplementedError: The layer cannot be resumed.
    """
    wanted, layer, weight = _by_number(generator, rules), problem.layer, generator.weight(problem.layer.name)
    found: list[list[Moved]] = [[] for _ in candidates]
    shown, cut = None, None
    for fold, number, change in refits(problem, candidates, folds, on_refit):
        aims = [wanted[image] for image in fold if image in wanted][:MOST_OF_A_FOLD]
        if not aims:
            continue
        if fold is not shown:
            shown, cut = fold, generator.cut(layer.name, latents_of(generator, [aim.latent for aim in aims]))
        assert cut is not None
        if steps:
            known = [aim for image, aim in wanted.items() if image not in fold]
            change = finish(generator, layer, known, change, steps, problem.goal.kept_units).change
        edited = weight + layer.weight_from(change).to(weight)
        factor = generator.demodulation(layer.name, cut.style, edited)
        images = generator.resume(layer.name, cut, layer.apply(cut.features, edited), factor).float().cpu()
        found[number] += [aim.moved(image) for aim, image in zip(aims, images, strict=True)]
    return [Drawn.of(moved) for moved in found]


def _by_number(generator: Generator, rules: Sequence[Rule]) -> dict[int, Pasted]:
    """The pasted images by their numbers in the goal of the rules together."""
    found: dict[int, Pasted] = {}
    first = 0
    for rule in rules:
        order = dict.fromkeys(region.latent for region in (*rule.copy, *rule.places, *rule.protect))
        numbers = {latent: first + i for i, latent in enumerate(order)}
        found |= {numbers[pasted.latent]: pasted for pasted in pasted_images(generator, rule)}
        first += len(order)
    return found
