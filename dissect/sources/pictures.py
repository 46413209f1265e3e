"""Pictures that come with their labels, numbered: what a network that reads images is dissected on."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float, Int16
from torch import Tensor

from dissect.concepts import Concepts


class LabelledPictures(ABC):
    """Pictures with label maps.

    Attributes:
        numbers: The number of each picture.
        concepts: What the labels stand for.
        identity: What tells these pictures from others in the provenance of a result.
    """

    numbers: Sequence[int]
    concepts: Concepts
    identity: str

    @abstractmethod
    def images(self, numbers: Sequence[int]) -> Float[Tensor, "images 3 height width"]:
        """The pictures of some numbers as images in [-1, 1]."""

    @abstractmethod
    def labels(self, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        """Their label maps, as those of a `ConceptSource`."""
