"""How much of an image each concept covers.

The Fréchet distance of two sets of such areas is the Fréchet segmentation distance (Bau et al., "Seeing What a GAN
Cannot Generate", ICCV 2019, section 3.1).
"""

import numpy as np
from jaxtyping import Float


def areas(labels: np.ndarray, classes: int) -> Float[np.ndarray, "images classes"]:
    """Percentage of each image's pixels that each class covers, from label maps (images, height, width)."""
    flat = labels.reshape(len(labels), -1)
    offsets = np.arange(len(labels))[:, None] * classes
    counts = np.bincount((flat + offsets).ravel(), minlength=len(labels) * classes)
    return 100 * counts.reshape(len(labels), classes) / flat.shape[1]
