"""The images that drive each unit most."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

KEPT = 8
NONE = -1


@dataclass(frozen=True)
class Tops:
    """For each unit the images with its greatest activations, the greatest first.

    Attributes:
        peaks: The greatest activation in each of these images; -infinity where there were fewer images.
        numbers: The seeds or numbers of the images; -1 where there were fewer.
    """

    peaks: Float[Tensor, "units kept"]
    numbers: Int64[Tensor, "units kept"]

    @classmethod
    def empty(cls, units: int, kept: int = KEPT) -> "Tops":
        """Before any image."""
        return cls(torch.full((units, kept), -torch.inf), torch.full((units, kept), NONE))

    @classmethod
    def of(cls, peaks: Float[Tensor, "images units"], numbers: Sequence[int], kept: int = KEPT) -> "Tops":
        """The best of some images."""
        given = cls(peaks.T.float().cpu(), torch.tensor(numbers).expand(peaks.shape[1], -1))
        return cls.empty(peaks.shape[1], kept) + given

    def __add__(self, other: "Tops") -> "Tops":
        kept = self.peaks.shape[1]
        peaks, numbers = torch.cat([self.peaks, other.peaks], dim=1), torch.cat([self.numbers, other.numbers], dim=1)
        # Of equal peaks the smaller number comes first, so that the order of the parts does not matter.
        order = numbers.argsort(dim=1, stable=True)
        order = order.gather(1, peaks.gather(1, order).argsort(dim=1, descending=True, stable=True))[:, :kept]
        return Tops(peaks.gather(1, order), numbers.gather(1, order))
