"""Pictures of known classes: what a classifier is asked about."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int16, Int64
from PIL import Image
from torch import Tensor

from dissect.scene_classes import CLASSES, by_class, class_of
from dissect.scenes import CONCEPTS, Scene, draw
from dissect.segmenter import images_of
from dissect.sources.contract import checked
from dissect.sources.folders import ENDINGS
from dissect.sources.pictures import LabelledPictures, Pictures
from dissect.sources.rasters import read_colours
from dissect.sources.towers import category_of
from rewrite.classifiers.classifier import Classifier
from rewrite.reports.concepts import Concepts
from rewrite.storage.walks import files_in

# Seeds of scenes that no training sees.
FIRST_SEED, SEEDS = 20_000_000, 10_000_000


class Split(NamedTuple):
    """Numbers of pictures: those on which something is chosen, and others on which it is scored."""

    training: Sequence[int]
    test: Sequence[int]


class ClassedPictures(Pictures):
    """Pictures with the number of the class of each.

    Attributes:
        names: The name of each class.
    """

    names: Sequence[str]

    @abstractmethod
    def classes(self, numbers: Sequence[int]) -> Int64[Tensor, " images"]:
        """The number of the class of each picture."""

    def split(self, training: int, test: int) -> Split:
        """So many pictures of each class for either part; fewer, in proportion, of a class that has not so many.

        Raises:
            ValueError: A class that has pictures has only one, or a number is below one.
        """
        if min(training, test) < 1:
            raise ValueError(f"a split has pictures on both sides, got {training} and {test} of each class")
        chosen, scored, numbers = list[int](), list[int](), np.array(self.numbers)
        classes = self.classes(self.numbers).numpy()
        for number in np.unique(classes):
            mine = np.random.default_rng(0).permutation(numbers[classes == number]).tolist()
            if len(mine) < 2:
                raise ValueError(f"class {self.names[number]} has one picture: a split needs two or more of each class")
            first = min(training, max(1, len(mine) * training // (training + test)))
            chosen.extend(sorted(mine[:first]))
            scored.extend(sorted(mine[first : first + test]))
        return Split(chosen, scored)

    def some(self, most: int | None) -> Sequence[int]:
        """All pictures, or at most so many of each class, drawn evenly.

        Raises:
            ValueError: The number is below one.
        """
        if most is None:
            return list(self.numbers)
        if most < 1:
            raise ValueError(f"at least one picture of each class is needed, got {most}")
        numbers, classes = np.array(self.numbers), self.classes(self.numbers).numpy()
        drawn = (np.random.default_rng(0).permutation(numbers[classes == each]) for each in np.unique(classes))
        return sorted(number for mine in drawn for number in mine[:most].tolist())


class SceneClasses(LabelledPictures, ClassedPictures):
    """Scenes of towers, as many of each class, with their class and the label of every pixel.

    Args:
        per_class: How many of each class.
        first_seed: The first seed that is looked at; the default is that of scenes that no training sees.
        size: Side of a picture in pixels.
    """

    concepts = Concepts(CONCEPTS, tuple(category_of(name) for name in CONCEPTS))
    names = CLASSES

    def __init__(self, per_class: int, first_seed: int = FIRST_SEED, size: int = 64):
        self.scenes = by_class(range(first_seed, first_seed + SEEDS), per_class)
        self.numbers, self.size = range(len(self.scenes)), size
        self.identity = f"{per_class} scenes of each class from seed {first_seed} at {size} pixels"

    def images(self, numbers: Sequence[int]) -> Float[Tensor, "images 3 height width"]:
        return images_of(np.stack([draw(self.scenes[number], self.size)[0] for number in numbers]))

    def labels(self, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        maps = np.stack([draw(self.scenes[number], self.size)[1] for number in numbers])
        return checked(torch.from_numpy(maps), len(numbers), self.concepts)

    def classes(self, numbers: Sequence[int]) -> Int64[Tensor, " images"]:
        return classes_of([self.scenes[number] for number in numbers])


def classes_of(scenes: Sequence[Scene]) -> Int64[Tensor, " images"]:
    """The class of each scene."""
    return torch.tensor([class_of(scene) for scene in scenes])


class ClassFolder(ClassedPictures):
    """A folder with a folder of pictures for each class, whose name is that of the class or its number.

    Pictures are resized by bicubic interpolation over the whole frame.

    Args:
        folder: The folder.
        classifier: What names the classes, and says the size of pictures.

    Raises:
        FileNotFoundError: There is no such folder.
        LookupError: A folder in it is named like no class.
        ValueError: It holds no pictures.
    """

    def __init__(self, folder: Path | str, classifier: Classifier):
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        self.names, self.size = classifier.classes, classifier.size
        self.listed: list[tuple[Path, int]] = []
        for each in sorted(path for path in folder.iterdir() if path.is_dir()):
            number = classifier.class_number(each.name)
            self.listed += [(path, number) for path in files_in(each, ENDINGS, folder)]
        if not self.listed:
            raise ValueError(f"{folder} holds no folders with pictures, one for each class")
        self.numbers = range(len(self.listed))
        names = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path, _ in self.listed)
        self.identity = f"class folder {hashlib.sha256(names.encode()).hexdigest()[:16]}"

    def images(self, numbers: Sequence[int]) -> Float[Tensor, "images 3 height width"]:
        return images_of(np.stack([self._read(self.listed[number][0]) for number in numbers]))

    def classes(self, numbers: Sequence[int]) -> Int64[Tensor, " images"]:
        return torch.tensor([self.listed[number][1] for number in numbers])

    def _read(self, path: Path) -> np.ndarray:
        height, width = self.size
        return np.asarray(read_colours(path).resize((width, height), Image.Resampling.BICUBIC))
