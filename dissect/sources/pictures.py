"""Numbered pictures, from folders, renderers and generators, with labels or without."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float, Int16
from torch import Tensor

from rewrite.generators.classes import marked
from rewrite.generators.contract import Generator
from rewrite.reports.concepts import Concepts, ConceptSource


class Pictures(ABC):
    """Pictures by number.

    Attributes:
        numbers: The number of each picture.
        identity: What tells these pictures from others in the provenance of a result.
    """

    numbers: Sequence[int]
    identity: str

    @abstractmethod
    def images(self, numbers: Sequence[int]) -> Float[Tensor, "images 3 height width"]:
        """The pictures of some numbers as images in [-1, 1]."""


class LabelledPictures(Pictures):
    """Pictures with label maps: what a network that reads images is dissected on.

    Attributes:
        concepts: What the labels stand for.
    """

    concepts: Concepts

    @abstractmethod
    def labels(self, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        """Their label maps, as those of a `ConceptSource`."""


class LabelledBy(LabelledPictures):
    """Pictures whose pixels a source of concepts names.

    Args:
        pictures: The pictures.
        source: What names their pixels.
    """

    def __init__(self, pictures: Pictures, source: ConceptSource):
        self.pictures, self.source = pictures, source
        self.numbers, self.concepts = pictures.numbers, source.concepts
        self.identity = f"{pictures.identity}, labelled by {source.identity}"

    def images(self, numbers: Sequence[int]) -> Float[Tensor, "images 3 height width"]:
        return self.pictures.images(numbers)

    def labels(self, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        return self.source.label(self.images(numbers), numbers)


class DrawnPictures(Pictures):
    """What a generator draws; the number of a picture is its seed."""

    def __init__(self, generator: Generator, numbers: Sequence[int]):
        self.generator, self.numbers = generator, numbers
        drawn = "".join(f", of class {label}" for label in marked(generator.label).values())
        self.identity = f"the generator {generator.fingerprint} at truncation {generator.truncation:g}{drawn}"

    def images(self, numbers: Sequence[int]) -> Float[Tensor, "images 3 height width"]:
        return self.generator.sample(numbers)
