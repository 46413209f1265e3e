"""How well one class is told from all others: balanced accuracy, with its interval over pictures."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from rewrite.reports.interval import NORMAL_ERRORS, Interval, counted

Counts = Float[np.ndarray, "*sets classes"]


def balanced(hits: Counts, named: Counts, pictures: Int64[np.ndarray, " classes"]) -> Counts:
    """Balanced accuracy of each class against all others: the mean of the shares that are right on either side.

    Args:
        hits: Pictures of each class that are named it.
        named: All pictures that are named each class.
        pictures: How many pictures of each class there are.
    """
    found, kept = _shares(hits, named, pictures)
    return (found + kept) / 2


def balanced_interval(hits: int, named: int, pictures: int, others: int) -> Interval[float]:
    """The balanced accuracy of one class with its interval.

    Two independent shares, by Wilson's score, joined by the method of variance estimates recovery (Newcombe 1998).

    Args:
        hits: Pictures of the class that are named it.
        named: All pictures that are named it.
        pictures: How many pictures of the class there are.
        others: How many other pictures.
    """
    found, kept = counted(hits, pictures), counted(others - (named - hits), others)
    value = (found.value + kept.value) / 2
    below = math.hypot(found.value - found.low, kept.value - kept.low) / 2
    above = math.hypot(found.high - found.value, kept.high - kept.value) / 2
    return Interval(value, value - below, value + above)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> Interval[float]:
    """Spearman's correlation of ranks, with its interval by Fisher's transformation (Bonett and Wright 2000)."""
    from scipy import stats  # it takes a good part of a second to import

    if len(first) < 5 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Interval.unknown(math.nan)
    found: Any = stats.spearmanr(first, second)
    value = float(found.statistic)
    reach = NORMAL_ERRORS * math.sqrt((1 + value**2 / 2) / (len(first) - 3))
    turned = math.atanh(min(max(value, -1 + 1e-12), 1 - 1e-12))
    return Interval(value, math.tanh(turned - reach), math.tanh(turned + reach))


def _shares(hits: Counts, named: Counts, pictures: np.ndarray) -> tuple[Counts, Counts]:
    others = pictures.sum() - pictures
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits / pictures, 1 - (named - hits) / others
