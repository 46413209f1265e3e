"""Left-out images, drawn: what would be seen in marked images that a solution does not know."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer
from rewrite.goals.pasted import Moved, Pasted
from rewrite.goals.scene import latents_of
from rewrite.goals.shown import drawn_with
from rewrite.goals.sketch import sketched
from rewrite.goals.still import Still
from rewrite.rules.settings import Settings
from rewrite.solvers.descent import FEW_STEPS, descend, faint
from rewrite.solvers.finish import finish
from rewrite.solvers.leave_out import LeftOut, Refits, judged_in, together, worth_of
from rewrite.solvers.problem import Problem

# So many images of each part that is left out; where they are large, drawing is what takes time, and one has to do.
MOST_OF_A_FOLD = 2
LARGE = 64 * 64


@dataclass(frozen=True)
class Drawn:
    """What solutions do to the pictures of marked images that they were not solved on.

    Attributes:
        arrives: Share of the way to the pasted picture that the pixels under the marks went, along that way.
        strays: Change of all other pixels: root of its mean square, for images in [-1, 1].
        moves: Share of all other pixels of which a colour moved by more than a twentieth of its range.
        each: What arrives in each image.
    """

    arrives: float
    strays: float
    moves: float
    each: tuple[float, ...]

    @property
    def worth(self) -> float:
        """What arrives for what changes beside it."""
        return worth_of(self.arrives, self.strays)

    @classmethod
    def of(cls, moved: Sequence[Moved]) -> "Drawn":
        """The sums over images as shares."""
        whole = Moved.together(moved)
        return cls(whole.arrives, whole.strays, whole.moved, tuple(each.arrives for each in moved))

    def forecast(self) -> dict[str, Any]:
        """As a patch's forecast holds it."""
        return {**asdict(self), "each": list(self.each)}


def is_large(generator: Generator) -> bool:
    """Whether drawing an image takes longer than solving does."""
    return generator.size[0] * generator.size[1] > LARGE


@torch.no_grad()
def draw_left_out(
    generator: Generator,
    aims: Mapping[int, Pasted],
    refits: Refits,
    candidates: Sequence[Settings],
    *,
    steps: int = 0,
    on_refit: Callable[[], object] | None = None,
) -> list[Drawn]:
    """Draw images that are left out with each of several settings.

    Only the part of the network behind the layer is run, of a large network that of its sketch.

    Args:
        generator: The generator, whose layer can be resumed.
        aims: What the images are to look like as `sketched` draws them, by their numbers in the goal.
        refits: The problem without parts of its images.
        candidates: The settings, as `Refits.solutions` takes them.
        steps: Steps of the finish that each solution gets on the images that it knows.
        on_refit: As `Refits.solutions` takes it.
    """
    problem, layer = refits.problem, refits.problem.layer
    drawing = sketched(generator, layer.name)
    most = _most_drawn(generator)
    shown = {fold: _Fold.of(drawing, layer, [aims[image] for image in fold[:most]]) for fold in refits.folds}
    found: list[list[Moved]] = [[] for _ in candidates]
    for fold, number, change in refits.solutions(candidates, on_refit):
        if steps:
            known = [aim for image, aim in aims.items() if image not in fold]
            change = finish(drawing, problem, known, change, steps).change
        found[number] += shown[fold].moved(drawing, problem, change)
    return [Drawn.of(moved) for moved in found]


@torch.no_grad()
def descend_left_out(
    generator: Generator,
    aims: Mapping[int, Pasted],
    refits: Refits,
    settings: Settings,
    on_refit: Callable[[], object] | None = None,
) -> tuple[LeftOut, Drawn]:
    """What a descent on the other images does to those that are left out: at the layer, and in the image.

    Args:
        generator: The generator, whose layer can be resumed.
        aims: As `draw_left_out` takes them.
        refits: The problem without parts of its images; its own settings say the steps, but no more than are tried.
        settings: Those of the closed form.
        on_refit: As `Refits.solutions` takes it.
    """
    problem = refits.problem
    trial = replace(problem.settings, descent=min(problem.settings.descent, FEW_STEPS))
    problem = replace(problem, settings=trial)
    drawing, found, judged = sketched(generator, problem.layer.name), list[Moved](), []
    still = Still.of(drawing, problem.layer)
    for fold, _, start in refits.solutions([faint(settings)], on_refit):
        known = [aim for image, aim in aims.items() if image not in fold]
        change = descend(drawing, problem, known, start, still).change
        shown = [aims[image] for image in fold[: _most_drawn(generator)]]
        found += _Fold.of(drawing, problem.layer, shown).moved(drawing, problem, change)
        judged.append(judged_in(problem, change, fold))
    return together(judged), Drawn.of(found)


def _most_drawn(generator: Generator) -> int:
    return 1 if is_large(generator) else MOST_OF_A_FOLD


@dataclass(frozen=True)
class _Fold:
    """Images of a part that is left out, run up to the layer."""

    aims: Sequence[Pasted]
    cut: Cut

    @classmethod
    def of(cls, drawing: Generator, layer: Layer, aims: Sequence[Pasted]) -> "_Fold":
        return cls(aims, drawing.cut(layer.name, latents_of(drawing, [aim.latent for aim in aims])))

    def moved(self, drawing: Generator, problem: Problem, change: Tensor) -> list[Moved]:
        """What a change does to them."""
        weight = drawing.weight(problem.layer.name)
        images = drawn_with(drawing, problem.layer, self.cut, weight + problem.layer.weight_from(change).to(weight))
        return [aim.moved(image) for aim, image in zip(self.aims, images.float().cpu(), strict=True)]
