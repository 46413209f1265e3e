"""A number measured on images, with its 95 % interval over images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float, Real
from scipy import special

CONFIDENCE = 0.95
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
# Standard errors between an estimate that is normally distributed and an end of its interval.
NORMAL_ERRORS = float(special.ndtri(TAILS[1]))
RESAMPLES = 2000
# Of statistics that take long, such as a Fréchet distance.
FEW_RESAMPLES = 200
RESAMPLES_AT_ONCE = 100

Number = TypeVar("Number", float, np.ndarray)


@dataclass(frozen=True)
class Interval(Generic[Number]):
    """A number with the ends of its 95 % interval, or an array of numbers with the ends of each.

    Attributes:
        value: What was measured.
        low: The lower end; NaN where there is no interval.
        high: The upper end, likewise.
    """

    value: Number
    low: Number
    high: Number

    @classmethod
    def unknown(cls, value: float) -> "Interval[float]":
        """A number without an interval."""
        return Interval(value, math.nan, math.nan)

    def __getitem__(self: "Interval[np.ndarray]", place: Any) -> "Interval[float]":
        """One of an array of numbers."""
        return Interval(float(self.value[place]), float(self.low[place]), float(self.high[place]))

    def __truediv__(self, unit: int | float) -> "Interval[Number]":
        """The same in other units."""
        return Interval(self.value / unit, self.low / unit, self.high / unit)

    def at_least(self: "Interval[float]", least: float) -> "Interval[float]":
        """The same with ends that are not below what the number can be."""
        return Interval(self.value, max(self.low, least), max(self.high, least))

    def document(self: "Interval[float]") -> dict[str, float | None]:
        """For programs, as JSON knows it: an end that is not finite is None."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return {name: number if math.isfinite(number) else None for name, number in ends.items()}


def share_of(parts: Real[np.ndarray, " images"], wholes: Real[np.ndarray, " images"]) -> Interval[float]:
    """A share over all images together, with percentiles of the shares of resampled images; the same each time.

    Images without any whole say nothing of it, and resamples of them alone would have no share: they are left out.
    """
    shown = wholes > 0
    if not shown.any():
        return Interval.unknown(math.nan)
    value = float(parts.sum() / wholes.sum())
    if shown.sum() < 2:
        return Interval.unknown(value)
    how = {"paired": True, "vectorized": True, "batch": RESAMPLES_AT_ONCE, "method": "percentile"}
    ends = _resampled((parts[shown], wholes[shown]), _ratio, RESAMPLES, **how)
    return Interval(value, float(ends.low), float(ends.high))


def counted(parts: int, whole: int) -> Interval[float]:
    """A share of independent things with Wilson's interval, which holds also where all or none are counted."""
    square = NORMAL_ERRORS**2
    middle = (parts + square / 2) / (whole + square)
    share = parts / whole
    spread = math.sqrt(share * (1 - share) / whole + square / (4 * whole**2))
    reach = NORMAL_ERRORS * spread / (1 + square / whole)
    return Interval(share, max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach)))


def mean_of(values: Real[np.ndarray, " images"]) -> Interval[float]:
    """A mean over images with its interval; NaN are left out."""
    known = values[~np.isnan(values)]
    return share_of(known, np.ones(len(known)))


def bootstrapped(statistic: Callable[..., Sequence[float]], counts: Sequence[int]) -> Interval[np.ndarray]:
    """Numbers measured on samples of images, each with the spread of its resamples reflected at the value.

    What a statistic gains by being measured on few images, the resamples gain once more; reflected, it is taken off,
    where percentiles would count it twice (Davison and Hinkley 1997, section 5.2). A Fréchet distance is such a
    statistic: on few images, the value itself may lie above its interval.

    Args:
        statistic: From the places of the images in each sample to numbers.
        counts: How many images each sample has; at least two.
    """
    samples = [np.arange(count) for count in counts]
    ends = _resampled(samples, statistic, FEW_RESAMPLES, vectorized=False, method="basic")
    return Interval(np.array(statistic(*samples)), ends.low, ends.high)


def _resampled(samples: Sequence[np.ndarray], statistic: Callable, resamples: int, **how: Any) -> Any:
    # It takes a good part of a second to import, and who only edits needs none of it.
    from scipy import stats

    random = np.random.default_rng(0)
    found = stats.bootstrap(samples, statistic, n_resamples=resamples, confidence_level=CONFIDENCE, rng=random, **how)
    return found.confidence_interval


def _ratio(
    parts: Real[np.ndarray, "resamples images"], wholes: Real[np.ndarray, "resamples images"], axis: int
) -> Float[np.ndarray, " resamples"]:
    return parts.sum(axis=axis) / wholes.sum(axis=axis)
