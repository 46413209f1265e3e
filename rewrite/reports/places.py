"""What an edit does to the images that its rule was marked on, at the marks and elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.goals.cache import Goals
from rewrite.goals.pasted import Moved, pasted_images
from rewrite.goals.scene import latents_of
from rewrite.reports.effect import Applied, Movement, before_and_after, edited, looks, movement
from rewrite.reports.interval import Interval, share_of
from rewrite.reports.perceptual import Perceptual
from rewrite.rules.regions import Latent, Region
from rewrite.rules.rule import Rule


@dataclass(frozen=True)
class Places:
    """What an edit does to the images that a rule was marked on.

    Attributes:
        images: How many they are.
        arrives: Share of the way to the pasted picture that the pixels under the marks went, with its interval over
            images: 1 is all of it. Negative where they went the other way, more than 1 where they went too far.
        moved: What that is the share of, image by image.
        residual: Share of the wanted change that is missing at the layer, ‖v* - v‖ / ‖v* - v₀‖. A normalisation that
            follows the layer may show little of what is there.
        inside: How far colours moved under the marks.
        outside: How far they moved everywhere else.
        outside_moved: The share of all pixels outside the marks that moved, with its interval.
        protected: The share of the pixels of protected regions that moved, with its interval; None without any.
        look: LPIPS of the whole images, where a trunk was given.
        look_outside: LPIPS outside the marks.
    """

    images: int
    arrives: Interval[float]
    moved: tuple[Moved, ...]
    residual: float
    inside: Movement
    outside: Movement
    outside_moved: Interval[float]
    protected: Interval[float] | None = None
    look: Float[np.ndarray, " images"] | None = None
    look_outside: Float[np.ndarray, " images"] | None = None


def measure_places(
    generator: Generator,
    applied: Applied,
    rule: Rule,
    *,
    goals: Goals | None = None,
    perceptual: Perceptual | None = None,
    batch: int = 16,
) -> Places:
    """Compare the images that a rule was marked on, under the marks and elsewhere.

    Args:
        generator: The unedited generator.
        applied: Gives a context in which the generator is edited.
        rule: The rule.
        goals: Goals built before.
        perceptual: LPIPS, if it is wanted.
        batch: Images in one run; it does not affect the result.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: The rule was written on another model.
    """
    residual = missing(generator, applied, rule, goals)
    pasted = [each.shown() for each in pasted_images(generator, rule)]
    order = [each.latent for each in pasted]
    parts = [latents_of(generator, order[i : i + batch]) for i in range(0, len(order), batch)]
    before, after = torch.stack([each.before for each in pasted]), torch.cat(edited(generator, applied, parts))
    moved = tuple(each.moved(image) for each, image in zip(pasted, after, strict=True))
    inside = pixels_of(rule.places, order, generator.size)
    look, look_outside = looks(perceptual, before, after, inside)
    return Places(
        images=len(order),
        arrives=arrival(moved),
        moved=moved,
        residual=residual,
        inside=movement(before, after, inside),
        outside=movement(before, after, ~inside),
        outside_moved=moved_share(before, after, ~inside),
        protected=protected_moved(generator, applied, rule, batch) if rule.protect else None,
        look=look,
        look_outside=look_outside,
    )


def arrival(moved: Sequence[Moved]) -> Interval[float]:
    """The share of the way to the wanted pictures that images went together; NaN where none was to change."""
    return share_of(np.array([each.along for each in moved]), np.array([each.wanted for each in moved]))


def protected_moved(generator: Generator, applied: Applied, rule: Rule, batch: int = 16) -> Interval[float]:
    """The share of the pixels of a rule's protected regions whose colour moved."""
    order = list(dict.fromkeys(region.latent for region in rule.protect))
    parts = [latents_of(generator, order[i : i + batch]) for i in range(0, len(order), batch)]
    drawn = [before_and_after(generator, applied, part) for part in parts]
    before, after = (torch.cat(images) for images in zip(*drawn, strict=True))
    return moved_share(before, after, pixels_of(rule.protect, order, generator.size))


def moved_share(
    before: Float[Tensor, "images 3 height width"],
    after: Float[Tensor, "images 3 height width"],
    where: Bool[np.ndarray, "images height width"],
) -> Interval[float]:
    """The share of some pixels of all images together whose colour moved."""
    pixels = where.sum(axis=(1, 2))
    return share_of(np.nan_to_num(movement(before, after, where).moved) * pixels, pixels)


def pixels_of(
    regions: Sequence[Region], order: Sequence[Latent], size: tuple[int, int]
) -> Bool[np.ndarray, "images height width"]:
    """The pixels of regions in each of some images."""
    marks = np.zeros((len(order), *size), dtype=bool)
    for region in regions:
        marks[order.index(region.latent)] |= region.mask.resized(size)
    return marks


def missing(generator: Generator, applied: Applied, rule: Rule, goals: Goals | None = None) -> float:
    """Share of a rule's wanted change that is missing at its layer, ‖v* - v‖ / ‖v* - v₀‖ over the wanted keys.

    The keys are those of the unedited generator: edits of earlier layers do not enter.
    """
    goal, layer = (goals or Goals()).of(generator, rule), generator.layer(rule.layer)
    with applied():
        weight = generator.weight(rule.layer).detach().clone().cpu().double()
    values = layer.values(goal.wanted.keys, layer.matrix(weight))
    factor = generator.demodulation(rule.layer, goal.styles, weight)
    if factor is not None:
        values = values * factor[goal.wanted.image]
    power = [goal.wanted.weights @ (goal.targets - each).square().sum(dim=1) for each in (values, goal.wanted.values)]
    return float((power[0] / power[1].clamp(min=1e-300)).sqrt())
