"""What an edit does to images: how far colours move, what concepts become, and how different the images look."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rewrite.generators.batches import in_batches
from rewrite.generators.contract import Generator
from rewrite.generators.latents import Latents, numbered
from rewrite.goals.pasted import MOVED
from rewrite.reports.aims import Aim, Counts, all_regions, count_concepts
from rewrite.reports.concepts import ConceptSource
from rewrite.reports.perceptual import Perceptual
from rewrite.shards.work import Work
from rewrite.storage.ledger import Ledger, Tensors

Applied = Callable[[], AbstractContextManager[Any]]

BATCH = 16
# How a ledger calls the comparison, and what of it is a sum over all images.
STAGE = "compare"
SUMMED = ("map", "transitions")
COUNTED = tuple(field.name for field in fields(Counts))


@dataclass(frozen=True)
class Movement:
    """How far colours moved, one number for each image.

    Attributes:
        difference: Mean of |after - before| over pixels and colours, for images in [-1, 1].
        moved: Share of the pixels of which a colour moved by more than a twentieth of its range.
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
    batch: int = BATCH,
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
    comparison = Comparison(generator, applied, source, tuple(aims), perceptual)
    return comparison.effect(seeds, Ledger(progress=progress), batch=batch)


@dataclass(frozen=True)
class Comparison:
    """What images are drawn before and after, and how they are compared. See `measure_effect`.

    Attributes:
        generator: The unedited generator.
        applied: Gives a context in which it is edited.
        source: What names the pixels, if anything does.
        aims: What the rules turn into what.
        perceptual: LPIPS, if it is wanted.
    """

    generator: Generator
    applied: Applied
    source: ConceptSource | None = None
    aims: tuple[Aim, ...] = ()
    perceptual: Perceptual | None = None

    def effect(self, seeds: Iterable[int] | Latents, ledger: Ledger, *, batch: int = BATCH) -> Effect:
        """Compare the images of some seeds, or those that a ledger lacks.

        Raises:
            ValueError: There are no seeds; or what the ledger holds is damaged, or of other images.
        """
        numbers, latents = numbered(seeds, self.generator.latents)
        if not numbers:
            raise ValueError("an effect is measured on at least one seed, got none")
        comparing = Work(compared_with, (self, latents), self.generator)
        found = ledger.over(STAGE, numbers, comparing, join=_joined, batch=batch)
        lengths = {each.shape[-1:] for name, each in found.items() if name not in SUMMED}
        if lengths != {(len(numbers),)} or not found.keys() >= {"difference", "moved", "map"}:
            raise ValueError(f"{ledger.path} is damaged: it holds numbers of other images; delete it to begin anew")
        return _effect(numbers, found, seeds.kind if isinstance(seeds, Latents) else "seed")

    def _compared(self, seeds: tuple[int, ...], before: Tensor, after: Tensor) -> Tensors:
        """What `_effect` reads, of a batch; the map is a sum over its images."""
        moved, size = movement(before, after), len(seeds)
        found: dict[str, np.ndarray | None] = {
            "difference": moved.difference,
            "moved": moved.moved,
            "map": (after - before).abs().mean(dim=(0, 1)).double().numpy() * size,
        }
        region = None
        if self.source is not None:
            old, new = (self.source.label(images, seeds).cpu().numpy() for images in (before, after))
            counts = count_concepts(old, new, len(self.source.concepts), self.aims)
            found |= {name: getattr(counts, name) for name in COUNTED}
            region = all_regions(old, new, self.aims) if self.aims else None
        found["look"], found["look_outside"] = looks(self.perceptual, before, after, region)
        return {name: torch.from_numpy(each) for name, each in found.items() if each is not None}


def compared_with(comparison: tuple[Comparison, Callable[[Sequence[int]], Latents]], some: tuple[int, ...]) -> Tensors:
    """What is found of some images, with what gives their latents."""
    this, latents = comparison
    run = in_batches(some, len(some), lambda few: before_and_after(this.generator, this.applied, latents(few)))
    return reduce(_joined, (this._compared(few, *images) for few, images in run))


def _joined(ours: Tensors, theirs: Tensors) -> dict[str, Tensor]:
    """What is known of some images and of others: numbers of images side by side, and sums over all."""
    return {
        name: each + theirs[name] if name in SUMMED else torch.cat([each, theirs[name]], dim=-1)
        for name, each in ours.items()
    }


def _effect(seeds: tuple[int, ...], found: Tensors, drawn_from: str) -> Effect:
    arrays = {name: each.numpy() for name, each in found.items()}
    return Effect(
        seeds=seeds,
        movement=Movement(arrays["difference"], arrays["moved"]),
        map=arrays["map"] / len(seeds),
        counts=Counts(**{name: arrays[name] for name in COUNTED}) if COUNTED[0] in arrays else None,
        look=arrays.get("look"),
        look_outside=arrays.get("look_outside"),
        drawn_from=drawn_from,
    )


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
