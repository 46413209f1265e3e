"""Differences of whole numbers, image by image, as sums that merge exactly: ratios with their intervals."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int64
from scipy import special
from torch import Tensor

from rewrite.reports.interval import TAILS, Interval


@dataclass(frozen=True)
class Paired:
    """Sums over images of a difference d and of what it is measured against, a.

    The two belong to one image, so that what images have in common cancels. The sums are whole numbers: in which
    order or in how many parts images are added changes nothing.

    Attributes:
        sums: The number of images, Σd, Σd², Σa, Σa² and Σda, for each of any number of questions.
    """

    sums: Int64[Tensor, "6 ..."]

    @classmethod
    def of(cls, difference: Int64[Tensor, "images ..."], base: Int64[Tensor, "images ..."]) -> "Paired":
        """The sums over some images."""
        counted = torch.ones_like(difference)
        terms = (counted, difference, difference**2, base, base**2, difference * base)
        return cls(torch.stack([term.sum(dim=0) for term in terms]))

    def __add__(self, other: "Paired") -> "Paired":
        """Two parts as one."""
        return Paired(self.sums + other.sums)

    @cached_property
    def ratio(self) -> Interval[np.ndarray]:
        """The difference in shares of the base, Σd / Σa, for each question.

        The interval is that of a ratio of means, linearised, with Student's t. Not by scipy, whose bootstrap wants
        every image, where there are only sums. NaN where the base is never seen, and ends of NaN from one image.
        """
        count, total, squares, bases, base_squares, products = self.sums.cpu().double().numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.where(bases != 0, total / bases, np.nan)
            residues = squares - 2 * value * products + value**2 * base_squares
            error = np.sqrt(residues.clip(min=0) * count / (count - 1)) / bases
            half = special.stdtrit(count - 1, TAILS[1]) * error
        return Interval(value, value - half, value + half)

    @property
    def images(self) -> int:
        """How many images were added."""
        return int(self.sums[0].flatten()[0])
