"""One place of a rule: its cells, and the values that they are to get."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.goals.fill import filled
from rewrite.goals.scene import LEAST_COVER, Scene
from rewrite.goals.shifts import best_copy, shifted
from rewrite.rules.masks import cover
from rewrite.rules.rule import Region, Rule


@dataclass(frozen=True)
class Wanted:
    """One place of a rule: its cells, how much each counts, and the value that each is to get."""

    image: int
    cells: np.ndarray
    share: Float[Tensor, " n"]
    targets: Float[Tensor, "n outputs"]
    place: Region
    copy: Region | None = None

    @classmethod
    def pasted(cls, scene: Scene, rule: Rule, place: Region) -> "Wanted":
        copy, (down, right) = best_copy(scene.layer, rule, place)
        share = shifted(cover(copy.mask.array(), scene.layer), down, right)
        object_values = shifted(scene.values[scene.index(copy.latent)], down, right)
        return cls._of(scene, place, share, object_values, copy)

    @classmethod
    def erased(cls, scene: Scene, place: Region) -> "Wanted":
        share = cover(place.mask.array(), scene.layer)
        return cls._of(scene, place, share, filled(scene.values[scene.index(place.latent)], share > LEAST_COVER))

    @classmethod
    def _of(cls, scene: Scene, place: Region, share: Tensor, values: Tensor, copy: Region | None = None) -> "Wanted":
        cells, image = share > LEAST_COVER, scene.index(place.latent)
        blended = torch.lerp(scene.values[image], values, share)
        return cls(image, cells.numpy(), share[cells], blended[:, cells].T, place, copy)
