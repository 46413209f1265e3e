"""What an edit does to images: how far colours move, what concepts become, and how different the images look."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from rewrite.generators.contract import Generator, Latents, batched
from rewrite.goals.cache import Goals
from rewrite.goals.scene import latents_of
from rewrite.reports.aims import Aim, Counts, all_regions, count_concepts
from rewrite.reports.concepts import ConceptSource
from rewrite.reports.interval import Interval, share_of
from rewrite.reports.perceptual import Perceptual
from rewrite.rules.rule import Latent, Rule

Applied = Callable[[], AbstractContextManager[Any]]

MOVED = 0.1


@dataclass(frozen=True)
class Movement:
    """How far colours moved, one number for each image.

    Attributes:
        difference: Mean of |after - before| over pixels and colours, for images in [-1, 1].
        moved: Share of the pixels of which a colour moved by more than `MOVED`, a twentieth of its range.
    """

    difference: Float[np.ndarray, " images"]
    moved: Float[np.ndarray, " images"]


@dataclass(frozen=True)
class Effect:
    """What an edit does to the images of some seeds.

    Attributes:
        seeds: The seeds.
        movement: How far colours moved in each whole image.
        map: Mean of |after - before| at each pixel, over all images.
        counts: By concept, where a source of concepts was given.
        look: LPIPS of each whole image, where a trunk was given.
        look_outside: LPIPS of each image outside the regions of all aims; needs both.
    """

    seeds: tuple[int, ...]
    movement: Movement
    map: Float[np.ndarray, "height width"]
    counts: Counts | None = None
    look: Float[np.ndarray, " images"] | None = None
    look_outside: Float[np.ndarray, " images"] | None = None

    def __repr__(self) -> str:
        return f"<Effect on {len(self.seeds)} images: moved={self.movement.moved.mean():.3f}>"


@dataclass(frozen=True)
class Places:
    """What an edit does to the images that a rule was marked on.

    Attributes:
        images: How many they are.
        residual: Share of the wanted change that is missing at the layer, ‖v* - v‖ / ‖v* - v₀‖.
        inside: How far colours moved under the marks.
        outside: How far they moved everywhere else.
        outside_moved: The share of all pixels outside the marks that moved, with its interval.
        look: LPIPS of the whole images, where a trunk was given.
        look_outside: LPIPS outside the marks.
    """

    images: int
    residual: float
    inside: Movement
    outside: Movement
    outside_moved: Interval[float]
    look: Float[np.ndarray, " images"] | None = None
    look_outside: Float[np.ndarray, " images"] | None = None


def measure_effect(
    generator: Generator,
    applied: Applied,
    seeds: Iterable[int],
    *,
    source: ConceptSource | None = None,
    aims: Sequence[Aim] = (),
    perceptual: Perceptual | None = None,
    batch: int = 16,
    progress: bool = False,
) -> Effect:
    """Draw the images of some seeds before and after an edit and compare them.

    Args:
        generator: The unedited generator.
        applied: Gives a context in which the generator is edited, such as `lambda: patch.applied(generator)`.
        seeds: The images to compare. They should be others than those of the rule.
        source: What names the pixels; without it, only colours are compared.
        aims: What the rules turn into what.
        perceptual: LPIPS, if it is wanted.
        batch: Images in one run; it does not affect the result.
        progress: Show a progress bar.

    Returns:
        What moved, image by image.

    Raises:
        ValueError: There are no seeds.
    """
    seeds = tuple(seeds)
    if not seeds:
        raise ValueError("an effect is measured on at least one seed, got none")
    parts: list[Effect] = []
    with tqdm(total=len(seeds), desc="compare", unit="img", disable=not progress, delay=1) as bar:
        for some in batched(seeds, batch):
            before, after = before_and_after(generator, applied, generator.latents(some))
            counts = region = None
            if source is not None:
                old, new = (source.label(images, some).cpu().numpy() for images in (before, after))
                counts = count_concepts(old, new, len(source.concepts), aims)
                region = all_regions(old, new, aims) if aims else None
            look, look_outside = looks(perceptual, before, after, region)
            moved, mean = movement(before, after), (after - before).abs().mean(dim=(0, 1)).double().numpy()
            parts.append(Effect(some, moved, mean, counts, look, look_outside))
            bar.update(len(some))
    return _joined(parts)


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
    marks: dict[Latent, np.ndarray] = {}
    for place in rule.places:
        mask = place.mask.resized(generator.size)
        marks[place.latent] = marks.get(place.latent, np.zeros_like(mask)) | mask
    pairs, order = [], list(marks)
    for i in range(0, len(order), batch):
        pairs.append(before_and_after(generator, applied, latents_of(generator, order[i : i + batch])))
    before, after = (torch.cat(side) for side in zip(*pairs, strict=True))
    inside = np.stack([marks[latent] for latent in order])
    look, look_outside = looks(perceptual, before, after, inside)
    elsewhere = movement(before, after, ~inside)
    pixels = (~inside).sum(axis=(1, 2))
    return Places(
        images=len(order),
        residual=residual,
        inside=movement(before, after, inside),
        outside=elsewhere,
        outside_moved=share_of(np.nan_to_num(elsewhere.moved) * pixels, pixels),
        look=look,
        look_outside=look_outside,
    )


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


def movement(
    before: Float[Tensor, "images 3 height width"],
    after: Float[Tensor, "images 3 height width"],
    where: Bool[np.ndarray, "images height width"] | None = None,
) -> Movement:
    """How far colours moved in each image, over all of its pixels or some; NaN where an image has none."""
    step = (after - before).abs().cpu().double().numpy()
    where = np.ones((len(step), *step.shape[2:]), dtype=bool) if where is None else where
    count = where.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        difference = (step.mean(axis=1) * where).sum(axis=(1, 2)) / count
        moved = ((step.max(axis=1) > MOVED) & where).sum(axis=(1, 2)) / count
    return Movement(difference, moved)


def looks(
    perceptual: Perceptual | None, before: Tensor, after: Tensor, region: Bool[np.ndarray, "images height width"] | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """LPIPS of whole images, and outside a region; None for what cannot be measured."""
    if perceptual is None:
        return None, None
    whole = perceptual(before, after).double().numpy()
    if region is None or region.shape[1:] != tuple(before.shape[2:]):
        return whole, None
    return whole, perceptual(before, after, torch.from_numpy(~region)).double().numpy()


@torch.no_grad()
def before_and_after(
    generator: Generator, applied: Applied, latents: Latents
) -> tuple[Float[Tensor, "images 3 height width"], Float[Tensor, "images 3 height width"]]:
    """The same latents drawn by the generator as it is, and as it is edited."""
    before = generator.images(latents)
    with applied():
        after = generator.images(latents)
    return before.clamp(-1, 1).float().cpu(), after.clamp(-1, 1).float().cpu()


def _joined(parts: Sequence[Effect]) -> Effect:
    def column(name: str) -> np.ndarray | None:
        found = [getattr(part, name) for part in parts]
        return None if found[0] is None else np.concatenate(found)

    seeds = tuple(seed for part in parts for seed in part.seeds)
    counts = [part.counts for part in parts if part.counts is not None]
    return Effect(
        seeds=seeds,
        movement=Movement(
            np.concatenate([part.movement.difference for part in parts]),
            np.concatenate([part.movement.moved for part in parts]),
        ),
        map=sum((part.map * len(part.seeds) for part in parts), np.zeros_like(parts[0].map)) / len(seeds),
        counts=Counts.joined(counts) if counts else None,
        look=column("look"),
        look_outside=column("look_outside"),
    )
