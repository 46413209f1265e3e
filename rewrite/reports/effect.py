"""What an edit does to images: how far colours move, what concepts become, and how different the images look."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rewrite.generators.batches import in_batches
from rewrite.generators.contract import Generator
from rewrite.generators.latents import Latents, numbered
from rewrite.progress import stage_bar
from rewrite.reports.aims import Aim, Counts, all_regions, count_concepts
from rewrite.reports.concepts import ConceptSource
from rewrite.reports.perceptual import Perceptual

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
        seeds: The seeds; of latents, their numbers from 0 on.
        movement: How far colours moved in each whole image.
        map: Mean of |after - before| at each pixel, over all images.
        counts: By concept, where a source of concepts was given.
        look: LPIPS of each whole image, where a trunk was given.
        look_outside: LPIPS of each image outside the regions of all aims; needs both.
        drawn_from: `seed`, or the kind of latents: `z`, `w` or `w+`.
    """

    seeds: tuple[int, ...]
    movement: Movement
    map: Float[np.ndarray, "height width"]
    counts: Counts | None = None
    look: Float[np.ndarray, " images"] | None = None
    look_outside: Float[np.ndarray, " images"] | None = None
    drawn_from: str = "seed"

    def __repr__(self) -> str:
        return f"<Effect on {len(self.seeds)} images: moved={self.movement.moved.mean():.3f}>"


def measure_effect(
    generator: Generator,
    applied: Applied,
    seeds: Iterable[int] | Latents,
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
        seeds: The images to compare, or latents. They should be others than those of the rule.
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
    numbers, latents = numbered(seeds, generator.latents)
    if not numbers:
        raise ValueError("an effect is measured on at least one seed, got none")
    parts: list[Effect] = []
    with stage_bar(len(numbers), "compare", shown=progress) as bar:
        for some, (before, after) in in_batches(
            numbers, batch, lambda part: before_and_after(generator, applied, latents(part))
        ):
            counts = region = None
            if source is not None:
                old, new = (source.label(images, some).cpu().numpy() for images in (before, after))
                counts = count_concepts(old, new, len(source.concepts), aims)
                region = all_regions(old, new, aims) if aims else None
            look, look_outside = looks(perceptual, before, after, region)
            moved, mean = movement(before, after), (after - before).abs().mean(dim=(0, 1)).double().numpy()
            parts.append(Effect(some, moved, mean, counts, look, look_outside))
            bar.update(len(some))
    return replace(_joined(parts), drawn_from=seeds.kind if isinstance(seeds, Latents) else "seed")


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
    before = generator.images(latents).clamp(-1, 1).float().cpu()
    (after,) = edited(generator, applied, [latents])
    return before, after


@torch.no_grad()
def edited(
    generator: Generator, applied: Applied, parts: Iterable[Latents]
) -> list[Float[Tensor, "images 3 height width"]]:
    """The images of some latents as the edited generator draws them, in [-1, 1]."""
    with applied():
        return [generator.images(latents).clamp(-1, 1).float().cpu() for latents in parts]


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
