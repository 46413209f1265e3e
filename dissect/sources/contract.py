"""Sources of concepts made of functions, and those with a gradient; what every source gives says `ConceptSource`."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int16
from torch import Tensor

from rewrite.reports.concepts import NONE, Concepts, ConceptSource


@runtime_checkable
class DifferentiableSource(ConceptSource, Protocol):
    """A source that names each pixel by the greatest of some scores."""

    @abstractmethod
    def logits(self, images: Tensor) -> Float[Tensor, "images concepts height width"]:
        """Scores of all concepts at each pixel, of which the greatest is its label, as a function with a gradient."""


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
