"""One place of a rule: its cells, and the values that they are to get."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.goals.fill import filled
from rewrite.goals.placement import Placement
from rewrite.goals.scene import LEAST_COVER, Scene
from rewrite.rules.masks import cover
from rewrite.rules.regions import Region
from rewrite.rules.rule import Rule


@dataclass(frozen=True)
class Wanted:
    """One place of a rule: its cells, how much each counts, and the value that each is to get."""

    image: int
    cells: np.ndarray
    share: Float[Tensor, " n"]
    targets: Float[Tensor, "n outputs"]
    place: Region
    placement: Placement | None = None

    @classmethod
    def pasted(cls, scene: Scene, rule: Rule, place: Region) -> "Wanted":
        placement = Placement.of(scene.layer, rule, place)
        copied = placement.cells(scene.values[scene.index(placement.copy.latent)], scene.layer)
        return cls._of(scene, place, placement.share(scene.layer), copied, placement)

    @classmethod
    def erased(cls, scene: Scene, place: Region) -> "Wanted":
        share = cover(place.mask.array(), scene.layer)
        return cls._of(scene, place, share, filled(scene.values[scene.index(place.latent)], share > LEAST_COVER))

    @classmethod
    def _of(
        cls, scene: Scene, place: Region, share: Tensor, values: Tensor, placement: Placement | None = None
    ) -> "Wanted":
        cells, image = share > LEAST_COVER, scene.index(place.latent)
        blended = torch.lerp(scene.values[image], values, share)
        return cls(image, cells.numpy(), share[cells], blended[:, cells].T, place, placement)
