"""How sure a number is that was measured on images: the same with the images drawn anew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

DRAWS = 200
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: What was measured.
        low, high: Between these it lies, with a probability of 95 %.
    """

    value: float
    low: float
    high: float

    @classmethod
    def basic(cls, value: float, drawn: Float[np.ndarray, " draws"], least: float = -np.inf) -> "Estimate":
        """The interval that reflects the spread of the draws at the value (Davison and Hinkley 1997, section 5.2).

        What a statistic gains by being measured on few images, the draws gain once more; reflected, it is taken off,
        where percentiles of the draws would count it twice. A Fréchet distance is such a statistic: on few images, the
        value itself may lie above its interval.

        Args:
            value: What was measured on the images.
            drawn: The same on images drawn anew.
            least: The number is never below this.
        """
        low, high = 2 * value - np.quantile(drawn, [(1 + LEVEL) / 2, (1 - LEVEL) / 2])
        return cls(float(value), float(max(low, least)), float(max(high, least)))

    @classmethod
    def percentile(cls, value: float, drawn: Float[np.ndarray, " draws"]) -> "Estimate":
        """The interval between percentiles of the draws; for ratios and means, which few images do not move."""
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return cls(float(value), float(low), float(high))

    def document(self) -> dict[str, float]:
        """For programs."""
        return {"value": self.value, "low": self.low, "high": self.high}


def bootstrap(
    statistic: Callable[..., Sequence[float]], counts: Sequence[int], draws: int = DRAWS, seed: int = 0
) -> Float[np.ndarray, "draws values"]:
    """Measure on images drawn anew, with replacement.

    Args:
        statistic: From the places of the images in each sample to numbers.
        counts: How many images each sample has.
        draws: How often.
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    return np.array([statistic(*(random.integers(0, count, count) for count in counts)) for _ in range(draws)])
