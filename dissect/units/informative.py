"""Levels that tell most about a concept: for each unit and concept the one with the greatest information quality ratio.

Source: Bau et al., "GAN Dissection" (ICLR 2019), section 3.1: t = argmax I(a > t; c) / H(a > t, c), mutual information
over joint entropy. The pixels are counted between candidate levels, quantiles of the unit that another sample gave, so
that one pass serves all of them. Levels are chosen on one half of the images and scored on the other: a level scored
where it was chosen flatters itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int16, Int64
from torch import Tensor

from dissect.units.levels import Greatest
from dissect.units.upsampling import sampled_pixels, upsampling
from rewrite.generators.layers import grid_of

TAILS = tuple(np.geomspace(1e-3, 0.9, 48).tolist())
# A concept on fewer pixels than this share says nothing about levels.
RAREST = 1e-3


def candidates(greatest: Greatest) -> Float[Tensor, "units levels"]:
    """Levels of each unit, ascending, whose tails run evenly in their logarithm from 90 % to 0.1 %."""
    return torch.stack([greatest.level(tail) for tail in sorted(TAILS, reverse=True)], dim=1)


class Informative(NamedTuple):
    """What the best level of each unit and concept is worth, on images that it was not chosen on.

    Attributes:
        levels: The levels.
        quality: The information quality ratio; 0 for concepts that are too rare.
        iou: The intersection over union at this level.
    """

    levels: Float[np.ndarray, "units concepts"]
    quality: Float[np.ndarray, "units concepts"]
    iou: Float[np.ndarray, "units concepts"]


@dataclass(frozen=True)
class Graded:
    """A sample of pixels counted by unit, concept and the candidate levels that they pass, in two halves.

    Attributes:
        counts: Number of pixels that pass so many candidates; of the concepts, the last is "any or none".
    """

    counts: Int64[Tensor, "halves units grades concepts"]

    @classmethod
    def empty(cls, units: int, concepts: int, levels: int = len(TAILS)) -> "Graded":
        """Before any image."""
        return cls(torch.zeros(2, units, levels + 1, concepts + 1, dtype=torch.int64))

    def __add__(self, other: "Graded") -> "Graded":
        return Graded(self.counts + other.counts)

    def seeing(
        self,
        maps: Float[Tensor, "images units height width"],
        labels: Int16[Tensor, "images layers rows columns"],
        numbers: Sequence[int],
        levels: Float[Tensor, "units levels"],
    ) -> "Graded":
        """With more images, a sample of pixels of each that depends on its number; even and odd ones are the halves."""
        size = grid_of(labels)
        halves, units, grades, width = self.counts.shape
        half = torch.tensor(numbers, device=maps.device)[:, None] % halves
        pixels = sampled_pixels(numbers, size).to(maps.device)
        values = upsampling(grid_of(maps), size, maps.device).at(maps, pixels)
        # Levels are strict: a value at a level does not pass it.
        rows = values.transpose(0, 1).flatten(1).contiguous()
        grade = torch.searchsorted(levels.contiguous(), rows, side="left").reshape(units, *pixels.shape)
        names = labels.flatten(2).long().gather(2, pixels[:, None].expand(-1, labels.shape[1], -1))
        first = half * units + torch.arange(units, device=maps.device)[:, None, None]
        places = (first * grades + grade) * width
        found = torch.bincount((places + (width - 1)).reshape(-1), minlength=self.counts.numel())
        for layer in range(names.shape[1]):
            shown = names[:, layer] >= 0
            found += torch.bincount((places + names[:, layer])[:, shown].reshape(-1), minlength=len(found))
        return replace(self, counts=self.counts + found.reshape(self.counts.shape).cpu())

    def informative(self, levels: Float[Tensor, "units levels"]) -> Informative:
        """Choose on the first half, and score on the second."""
        quality = information_quality(*self._tables(0))
        best = quality.argmax(axis=1)
        both, passing, shown, total = self._tables(1)
        scored = information_quality(both, passing, shown, total)
        either = passing + shown - both
        iou = np.divide(both, either, out=np.zeros(both.shape), where=either > 0)
        taken = (np.arange(len(best))[:, None], best, np.arange(best.shape[1]))
        return Informative(
            np.take_along_axis(levels.cpu().numpy(), best, axis=1),
            scored[taken],
            iou[taken],
        )

    def _tables(self, half: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Pixels that pass each level and show a concept, that pass it, that show the concept, and all."""
        counts = self.counts[half].numpy().astype(np.float64)
        # To pass a level is to have a grade above its place.
        passing = counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
        total = counts[:, :, -1:].sum(axis=1, keepdims=True)
        return passing[..., :-1], passing[..., -1:], counts[..., :-1].sum(axis=1, keepdims=True), total


def information_quality(both: np.ndarray, passing: np.ndarray, shown: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Mutual information over joint entropy of two yes-or-no variables, from counts; 0 where one is too rare."""
    if not total.all():
        return np.zeros(both.shape)
    joint = np.stack([both, passing - both, shown - both, total - passing - shown + both]) / total
    marginals = np.stack([passing / total + 0 * joint[0], shown / total + 0 * joint[0]])
    entropy = _surprise(joint).sum(axis=0)
    information = _surprise(marginals).sum(axis=0) + _surprise(1 - marginals).sum(axis=0) - entropy
    ratio = np.divide(information, entropy, out=np.zeros(entropy.shape), where=entropy > 0)
    return np.where(shown / total >= RAREST, ratio.clip(min=0), 0)


def _surprise(share: np.ndarray) -> np.ndarray:
    return -share * np.log(np.where(share > 0, share, 1))
