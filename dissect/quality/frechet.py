"""How far apart two sets of vectors are: the Fréchet distance of the Gaussians with their means and covariances.

    d² = ‖μ₁ - μ₂‖² + tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½)

Source: Dowson and Landau, "The Fréchet distance between multivariate normal distributions" (1982). On the areas of
concepts it is the Fréchet segmentation distance (`dissect.quality.areas`), on features of a classifier the FID.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

# Directions with less of the variance than this share of the greatest are rounding.
SINGULAR = 1e-10


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of vectors, in float64; two sets as one are the sum of their moments.

    Attributes:
        count: How many vectors there were.
        mean: Their mean.
        scatter: The sum of the outer products of their differences from it.
    """

    count: int
    mean: Float[np.ndarray, " features"]
    scatter: Float[np.ndarray, "features features"]

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "samples features"]) -> "Moments":
        """The moments of some vectors.

        Raises:
            ValueError: There are fewer than two, or a number is not finite.
        """
        if len(vectors) < 2:
            raise ValueError(f"a Fréchet distance needs two or more vectors on each side, got {len(vectors)}")
        vectors = vectors.astype(np.float64)
        mean = vectors.mean(axis=0)
        if not np.isfinite(mean).all():
            raise ValueError("a Fréchet distance needs finite numbers: the network's weights or the images are damaged")
        apart = vectors - mean
        return cls(len(vectors), mean, apart.T @ apart)

    def __add__(self, other: "Moments") -> "Moments":
        """The moments of both sets together (Chan, Golub and LeVeque 1979)."""
        count, step = self.count + other.count, other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(step, step) * (self.count * other.count / count)
        return Moments(count, self.mean + step * (other.count / count), scatter)

    @property
    def covariance(self) -> Float[np.ndarray, "features features"]:
        """The covariance, unbiased."""
        return self.scatter / (self.count - 1)

    @cached_property
    def root(self) -> Float[np.ndarray, "features features"]:
        """The symmetric square root of the covariance."""
        values, vectors = np.linalg.eigh(self.covariance)
        return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T

    def distance(self, other: "Moments") -> float:
        """The squared Fréchet distance to other moments.

        The trace of the root is the sum of the roots of the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is symmetric: that
        stays exact for singular covariances, and those of areas always are, because areas add up to 100.
        """
        within = self.root @ other.covariance @ self.root
        overlap = np.sqrt(np.linalg.eigvalsh(within).clip(min=0)).sum()
        apart = np.square(self.mean - other.mean).sum()
        return float(max(0.0, apart + np.trace(self.covariance) + np.trace(other.covariance) - 2 * overlap))

    def slope(self, vectors: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples features"]:
        """How the distance of some vectors to these moments moves with each of them: its gradient.

        ∂d²/∂x = 2 (μ - μ₂) / n + 2 (I - T) (x - μ) / (n - 1), where T = Σ₂^½ (Σ₂^½ Σ Σ₂^½)^-½ Σ₂^½ carries the one
        Gaussian to the other; directions in which the vectors do not vary are left out of T.
        """
        mine = Moments.of(vectors)
        values, axes = np.linalg.eigh(self.root @ mine.covariance @ self.root)
        known = values > SINGULAR * values[-1]
        half = self.root @ axes[:, known]
        carried = (half / np.sqrt(values[known])) @ half.T
        apart = vectors - mine.mean
        return 2 * (mine.mean - self.mean) / mine.count + 2 * (apart - apart @ carried) / (mine.count - 1)


def frechet_distance(
    first: Float[np.ndarray, "samples features"], second: Float[np.ndarray, "others features"]
) -> float:
    """Squared Fréchet distance between the Gaussians with the means and covariances of two sets of vectors."""
    return Moments.of(second).distance(Moments.of(first))
