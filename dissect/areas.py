"""How much of an image each concept covers, and how far apart two sets of images are by that.

Source: Bau et al., "Seeing What a GAN Cannot Generate" (ICCV 2019), section 3.1, the Fréchet segmentation distance.
"""

import numpy as np
from jaxtyping import Float


def areas(labels: np.ndarray, classes: int) -> Float[np.ndarray, "images classes"]:
    """Percentage of each image's pixels that each class covers, from label maps (images, height, width)."""
    flat = labels.reshape(len(labels), -1)
    offsets = np.arange(len(labels))[:, None] * classes
    counts = np.bincount((flat + offsets).ravel(), minlength=len(labels) * classes)
    return 100 * counts.reshape(len(labels), classes) / flat.shape[1]


def frechet_distance(
    first: Float[np.ndarray, "samples features"], second: Float[np.ndarray, "others features"]
) -> float:
    """Squared Fréchet distance between the Gaussians with the means and covariances of two sets of vectors.

    ‖μ₁ - μ₂‖² + tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½), in float64. The trace of the root is the sum of the roots of the
    eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is symmetric: that stays exact for singular covariances, and those of areas
    always are, because areas add up to 100.
    """
    for vectors in (first, second):
        if len(vectors) < 2:
            raise ValueError(f"a Fréchet distance needs two or more vectors on each side, got {len(vectors)}")
    first, second = first.astype(np.float64), second.astype(np.float64)
    one, other = np.atleast_2d(np.cov(first, rowvar=False)), np.atleast_2d(np.cov(second, rowvar=False))
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    overlap = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(min=0)).sum()
    apart = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    return float(max(0.0, apart + np.trace(one) + np.trace(other) - 2 * overlap))
