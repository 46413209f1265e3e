"""What the marked images are to look like, and the values that make them look so."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from rewrite.generators.batches import batched
from rewrite.generators.contract import Generator
from rewrite.goals.pasted import Pasted
from rewrite.goals.refine import Wish, refine
from rewrite.goals.scene import Scene, latents_of
from rewrite.goals.unedited import Unedited
from rewrite.goals.wanted import Wanted
from rewrite.rules.rule import Rule


def refined(
    generator: Generator, scene: Scene, rule: Rule, wanted: Sequence[Wanted], unedited: Unedited, batch: int = 8
) -> list[Wanted]:
    """The same places, whose values make the image itself show the copy, or the surroundings of what is erased."""
    by_image: dict[int, list[Wanted]] = {}
    for each in wanted:
        by_image.setdefault(each.image, []).append(each)
    latents, values = list(scene.images), {}
    for part in batched(by_image, batch):
        chosen = latents_of(generator, [latents[image] for image in part])
        wishes = [_wish(unedited, scene, by_image[image]) for image in part]
        values |= zip(part, refine(generator, scene.layer, chosen, wishes, rule.settings.refine), strict=True)
    return [replace(each, targets=values[each.image][:, torch.from_numpy(each.cells)].T) for each in wanted]


def _wish(unedited: Unedited, scene: Scene, places: Sequence[Wanted]) -> Wish:
    """One image with every copy pasted into it, or every place filled from around it."""
    values, cells = scene.values[places[0].image].clone(), np.zeros(scene.layer.output_grid, dtype=bool)
    placed = []
    for each in places:
        values[:, torch.from_numpy(each.cells)] = each.targets.T
        cells |= each.cells
        source = None if each.placement is None else unedited.picture(each.placement.copy.latent)
        placed.append((each.place, each.placement, source))
    latent = places[0].place.latent
    pasted = Pasted.of(latent, unedited.picture(latent), placed)
    return Wish(pasted.wanted, pasted.inside, torch.from_numpy(cells), values)
