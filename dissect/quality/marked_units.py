"""Units that draw what somebody marked: those that light up under the marks, and change what is there when off.

Source: the agreement (IoU) of Bau et al., "Network Dissection" (CVPR 2017), with marks in the place of a concept's
pixels, and the effects of "GAN Dissection" (ICLR 2019), section 3.2. A few marked images say where something is drawn
badly, but not whether an image is better without a unit: that is decided by a distance from good images
(`artifacts.py`), with the units proposed here as candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dissect.causes.intervention import Intervention, Prefix
from rewrite.generators.batches import batched
from rewrite.generators.contract import Generator
from rewrite.generators.layers import grid_of
from rewrite.goals.scene import latents_of
from rewrite.rules.masks import cover_of
from rewrite.rules.regions import Latent, Region

BATCH = 16
# Units whose effect is measured: those that agree best with the marks.
MOST = 64
# A unit draws what is marked if it changes that so many times as much as the rest of the marked images.
TIMES = 2.0


@dataclass(frozen=True)
class MarkedUnit:
    """A unit, and what it has to do with the marks.

    Attributes:
        unit: Its number.
        agreement: IoU of the marks and the cells where the unit is highest, of which as many are taken as are marked.
        inside: Mean change of colours under the marks when the unit is off, in [-1, 1] images.
        outside: The same in the rest of the marked images.
    """

    unit: int
    agreement: float
    inside: float
    outside: float

    @property
    def draws(self) -> bool:
        """Whether the unit changes what is marked much more than what is not."""
        return self.inside > TIMES * self.outside


class MarkedImages:
    """Some images and their marks, at a layer of a generator.

    Args:
        generator: The generator.
        layer: Name of the layer.
        regions: The marks; all regions of an image are one mask.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: There are no marks, or a mask was not drawn on this generator's images.
    """

    def __init__(self, generator: Generator, layer: str, regions: Sequence[Region]):
        if not regions:
            raise ValueError("mark something first: there are no marks")
        self.generator, self.layer = generator, generator.layer(layer)
        masks: dict[Latent, np.ndarray] = {}
        for region in regions:
            region.mask.check_size(generator.size)
            mask = region.mask.resized(generator.size)
            masks[region.latent] = masks[region.latent] | mask if region.latent in masks else mask
        self.latents, self.masks = tuple(masks), torch.from_numpy(np.stack(list(masks.values())))

    @cached_property
    def agreement(self) -> Float[Tensor, " units"]:
        """How well each unit agrees with the marks, from 0 to 1."""
        marked = self._cells.flatten()
        maps = (
            torch.cat([part.output[: part.count].float().cpu() for part in self._prefixes]).transpose(0, 1).flatten(1)
        )
        count = int(marked.sum())
        highest = torch.zeros_like(maps, dtype=torch.bool)
        highest.scatter_(1, maps.topk(count, dim=1).indices, value=True)
        both = (highest & marked).sum(dim=1)
        return both / (2 * count - both)

    def proposed(self, most: int = MOST) -> list[MarkedUnit]:
        """The units that draw what is marked, those first that change it most beyond what they change elsewhere.

        Args:
            most: How many units are switched off to see what changes: those that agree best.
        """
        order = self.agreement.argsort(descending=True, stable=True)[:most].tolist()
        found = [each for each in map(self.unit, order) if each.draws]
        return sorted(found, key=lambda each: each.outside - each.inside)

    def unit(self, unit: int) -> MarkedUnit:
        """What a unit has to do with the marks."""
        off = Intervention.off([unit])
        apart = [(part.images(off) - part.images()).abs().mean(dim=1).cpu() for part in self._prefixes]
        moved = torch.cat(apart)
        inside, outside = moved[self.masks], moved[~self.masks]
        return MarkedUnit(
            unit, float(self.agreement[unit]), float(inside.mean()), float(outside.mean()) if len(outside) else 0.0
        )

    @cached_property
    def _prefixes(self) -> list[Prefix]:
        latents, parts = latents_of(self.generator, self.latents), batched(range(len(self.latents)), BATCH)
        return [Prefix.of(self.generator, self.layer.name, latents.chosen(part)) for part in parts]

    @cached_property
    def _cells(self) -> Bool[Tensor, "images rows columns"]:
        """The cells of the layer's output that are marked by half or more, or else the one that is marked most."""
        grid, margin = grid_of(self._prefixes[0].output), self.layer.margin
        shares = torch.stack([cover_of(mask, grid, margin) for mask in self.masks.numpy()])
        cells = shares >= 0.5
        return cells if cells.any() else shares == shares.max()
