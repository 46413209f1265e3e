"""Differences of whole numbers, image by image, as sums that merge exactly: means and ratios with their intervals."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy import stats
from torch import Tensor

CONFIDENCE = 0.95


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

    @property
    def mean(self) -> tuple[Float[np.ndarray, "..."], ...]:
        """The mean difference, with the ends of its 95 % interval (Student's t); NaN from fewer than two images."""
        count, total, squares = self._terms[:3]
        value = _over(total, count)
        return self._around(value, squares - value * total, count)

    @property
    def ratio(self) -> tuple[Float[np.ndarray, "..."], ...]:
        """The difference in shares of the base, Σd / Σa, with the ends of its 95 % interval.

        The interval is that of a ratio of means, linearised, with Student's t. NaN where the base is never seen.
        """
        _, total, squares, bases, base_squares, products = self._terms
        value = _over(total, bases)
        return self._around(value, squares - 2 * value * products + value**2 * base_squares, bases)

    @property
    def images(self) -> int:
        """How many images were added."""
        return int(self.sums[0].flatten()[0])

    def share(self, *question: int) -> tuple[float, float, float]:
        """The ratio of one question, and the ends of its interval."""
        value, low, high = (float(each[question]) for each in self.ratio)
        return value, low, high

    @cached_property
    def _terms(self) -> np.ndarray:
        return self.sums.double().cpu().numpy()

    def _around(self, value: np.ndarray, residues: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
        """An estimate between its ends, from the sum of squared residues of all images."""
        count = self._terms[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.sqrt(residues.clip(min=0) * count / (count - 1)) / weight
            half = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * error
        return value, value - half, value + half


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below != 0, above / below, np.nan)
