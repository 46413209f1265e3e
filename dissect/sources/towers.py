"""The towers world as a source of concepts: its segmenter for any image, its renderer's exact labels for its scenes."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int16
from torch import Tensor

from dissect.scenes import CONCEPTS, scenes
from dissect.segmenter import Segmenter, images_of, load_segmenter
from dissect.sources.contract import DifferentiableSource, checked
from dissect.sources.pictures import LabelledPictures
from rewrite.generators.fingerprint import hash_of
from rewrite.reports.concepts import Concepts

CATEGORIES = {
    "tower": ("building", "roof", "dome", "spire", "window", "door"),
    "plant": ("trunk", "tree", "grass"),
}


def category_of(concept: str) -> str:
    """The category of a concept of this world."""
    return next((kind for kind, names in CATEGORIES.items() if concept in names), "landscape")


class SegmenterSource(DifferentiableSource):
    """A segmenter of this library's."""

    def __init__(self, segmenter: Segmenter | None = None):
        self.segmenter = segmenter or load_segmenter()
        names = self.segmenter.concepts
        self.concepts = Concepts(names, tuple(category_of(name) for name in names))
        self.identity = f"the segmenter {hash_of(self.segmenter.state_dict())}"

    def label(self, images: Tensor, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        return checked(self.segmenter.label(images), len(images), self.concepts)

    def logits(self, images: Tensor) -> Float[Tensor, "images concepts height width"]:
        return self.segmenter(images.to(self.segmenter.head.weight))


class Scenes(LabelledPictures):
    """Drawn scenes with the labels that they were drawn by; the number of a picture is the seed of its scene."""

    concepts = Concepts(CONCEPTS, tuple(category_of(name) for name in CONCEPTS))

    def __init__(self, first_seed: int = 2_000_000, count: int = 10_000, size: int = 64):
        self.numbers, self.size = range(first_seed, first_seed + count), size
        self.identity = "towers scenes" if size == 64 else f"towers scenes of {size} pixels"

    def images(self, numbers: Sequence[int]) -> Float[Tensor, "images 3 height width"]:
        return images_of(scenes(numbers, self.size)[0])

    def labels(self, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        return checked(torch.from_numpy(scenes(numbers, self.size)[1]), len(numbers), self.concepts)
