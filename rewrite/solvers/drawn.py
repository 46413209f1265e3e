"""Left-out images, drawn: what would be seen in marked images that a solution does not know."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from rewrite.generators.contract import Generator
from rewrite.goals.pasted import Moved, Pasted
from rewrite.goals.scene import latents_of
from rewrite.goals.sketch import sketched
from rewrite.rules.settings import Settings
from rewrite.solvers.finish import finish
from rewrite.solvers.leave_out import Refits, worth_of

# So many images of each part that is left out; where they are large, drawing is what takes time, and one has to do.
MOST_OF_A_FOLD = 2
LARGE = 64 * 64


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
    weight = generator.weight(layer.name)
    most = 1 if is_large(generator) else MOST_OF_A_FOLD
    shown = {fold: [aims[image] for image in fold[:most]] for fold in refits.folds}
    cuts = {
        fold: drawing.cut(layer.name, latents_of(drawing, [aim.latent for aim in here])) for fold, here in shown.items()
    }
    found: list[list[Moved]] = [[] for _ in candidates]
    for fold, number, change in refits.solutions(candidates, on_refit):
        if steps:
            known = [aim for image, aim in aims.items() if image not in fold]
            change = finish(generator, problem, known, change, steps).change
        cut = cuts[fold]
        edited = weight + layer.weight_from(change).to(weight)
        factor = generator.demodulation(layer.name, cut.style, edited)
        images = drawing.resume(layer.name, cut, layer.apply(cut.features, edited), factor).float().cpu()
        found[number] += [aim.moved(image) for aim, image in zip(shown[fold], images, strict=True)]
    return [Drawn.of(moved) for moved in found]
