"""Anything that names what pixels show."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int16
from torch import Tensor

from dissect.concepts import NONE, Concepts


class ConceptSource(ABC):
    """Gives label maps for images.

    Attributes:
        concepts: What the numbers of a label map stand for.
        identity: What tells this source from others in the provenance of a result.
        differentiable: Whether it has `logits`.
    """

    concepts: Concepts
    identity: str
    differentiable: bool = False

    @abstractmethod
    def label(self, images: Tensor, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        """Name the pixels of images.

        Args:
            images: In [-1, 1], of shape (n, 3, h, w).
            numbers: The seed or number of each image, for sources that know more of an image than its pixels.

        Returns:
            One or more maps that lie over each other, of any size, with the numbers of concepts, or -1 for none. A map
            of one pixel labels the whole image. No concept may stand in two maps at one pixel.
        """

    def logits(self, images: Tensor) -> Float[Tensor, "images concepts height width"]:
        """Scores of all concepts at each pixel, of which the greatest is its label, as a function with a gradient.

        Raises:
            ValueError: The source has none.
        """
        raise ValueError(f"{self.identity} only names pixels and has no gradient")


class CallableSource(ConceptSource):
    """A function of the user's: images and their numbers to label maps."""

    def __init__(
        self, function: Callable[[Tensor, Sequence[int]], Tensor | np.ndarray], concepts: Concepts, identity: str = ""
    ):
        self.function, self.concepts = function, concepts
        self.identity = identity or getattr(function, "__qualname__", type(function).__name__)

    def label(self, images: Tensor, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        return checked(self.function(images, numbers), len(images), self.concepts)


def checked(
    labels: Tensor | np.ndarray, images: int, concepts: Concepts
) -> Int16[Tensor, "images layers height width"]:
    """Label maps in the one form that counting reads.

    Raises:
        ValueError: They are not whole numbers, there is not one for each image, or a number stands for no concept.
    """
    labels = torch.as_tensor(labels)
    if labels.ndim == 3:
        labels = labels[:, None]
    if labels.ndim != 4 or len(labels) != images or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"label maps are whole numbers of shape ({images}, height, width) or ({images}, layers, height, width), "
            f"got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    least, most = (int(each) for each in labels.aminmax())
    if least < NONE or most >= len(concepts):
        raise ValueError(f"labels lie between {NONE} and {len(concepts) - 1}, got {least if least < NONE else most}")
    return labels.to(torch.int16)
