"""Grey pictures of known classes that are held in memory: scikit-learn's digits, and files of IDX such as MNIST's."""

import gzip
import hashlib
import importlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from torch import Tensor

from dissect.segmenter import images_of
from dissect.sources.classes import ClassedPictures
from rewrite.classifiers.classifier import Classifier
from rewrite.storage.quoting import quoted

DIGITS = tuple("0123456789")
# The built-in network learnt from those before.
FIRST_HELD_OUT = 797
BRIGHTEST = 16
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
# Of several pairs of files in one folder the first that is there: networks were trained on the others.
PREFERRED = ("t10k", "test")
MOST_BYTES = 2**30
UNSIGNED_BYTES = 8


class GreyPictures(ClassedPictures):
    """Grey pictures in memory.

    Args:
        pictures: Their bytes.
        classes: The number of the class of each.
        names: The name of each class.
        size: Height and width that they are shown in, by bicubic interpolation.
        identity: Where they are from.
    """

    def __init__(
        self,
        pictures: UInt8[np.ndarray, "pictures height width"],
        classes: Int64[Tensor, " pictures"],
        names: Sequence[str],
        size: tuple[int, int],
        identity: str,
    ):
        self.pictures, self._classes, self.names, self.size = pictures, classes, names, size
        self.numbers, self.identity = range(len(pictures)), identity

    def images(self, numbers: Sequence[int]) -> Float[Tensor, "images 3 height width"]:
        return images_of(np.stack([self._shown(self.pictures[number]) for number in numbers]))

    def classes(self, numbers: Sequence[int]) -> Int64[Tensor, " images"]:
        return self._classes[list(numbers)]

    def _shown(self, picture: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "rows columns 3"]:
        found, (height, width) = Image.fromarray(picture), self.size
        if found.size != (width, height):
            found = found.resize((width, height), Image.Resampling.BICUBIC)
        return np.repeat(np.asarray(found)[..., None], 3, axis=2)


def digits(*, size: tuple[int, int] = (8, 8), training: bool = False) -> GreyPictures:
    """The handwritten digits that come with scikit-learn, 8 x 8 (Alpaydin and Kaynak, 1998).

    Args:
        size: Height and width that they are shown in.
        training: Those that the built-in network learnt from; the others if left out.

    Raises:
        FileNotFoundError: scikit-learn is not installed.
    """
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError:
        raise FileNotFoundError(
            "the digits come with the package scikit-learn: pip install 'model-rewriting[digits]'"
        ) from None
    grey, classes = datasets.load_digits(return_X_y=True)
    part = slice(None, FIRST_HELD_OUT) if training else slice(FIRST_HELD_OUT, None)
    pictures = np.round(grey.reshape(-1, 8, 8)[part] * (255 / BRIGHTEST)).astype(np.uint8)
    which = f"scikit-learn's digits, {'before' if training else 'from'} number {FIRST_HELD_OUT}"
    return GreyPictures(pictures, torch.from_numpy(classes[part]).long(), DIGITS, size, which)


def idx_folder(folder: Path, classifier: Classifier) -> GreyPictures:
    """The pictures of a folder with files of IDX, as MNIST and its like come; of several pairs that of the test set.

    Raises:
        LookupError: A label is no class of the classifier.
        ValueError: A file is damaged, or pictures and labels do not belong together.
    """
    images, labels = _pair(folder)
    pictures, found = read_idx(images, 3), read_idx(labels, 1)
    if len(pictures) != len(found) or not len(found):
        raise ValueError(f"{images} holds {len(pictures)} pictures, and {labels.name} {len(found)} labels")
    number = {label: classifier.class_number(label) for label in np.unique(found).tolist()}
    classes = torch.tensor([number[label] for label in found.tolist()])
    digest = hashlib.sha256(pictures.tobytes() + found.tobytes()).hexdigest()[:16]
    return GreyPictures(pictures, classes, classifier.classes, classifier.size, f"pictures of IDX {digest}")


def holds_idx(folder: Path) -> bool:
    """Whether a folder holds pictures as files of IDX."""
    return folder.is_dir() and any(folder.glob(f"*{IMAGES}*"))


def read_idx(path: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    """The bytes of a file of IDX, which may be compressed by gzip.

    Raises:
        ValueError: It is damaged, holds other numbers than bytes, or has another number of axes.
    """
    start = 4 + 4 * axes
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(start)
            if len(head) < start or head[:4] != bytes((0, 0, UNSIGNED_BYTES, axes)):
                raise ValueError(
                    f"{path} is no file of IDX with bytes along {axes} axes: it begins with {quoted(head[:4])}"
                )
            shape = np.frombuffer(head[4:], dtype=">u4").astype(int).tolist()
            size = int(np.prod(shape, dtype=object))
            # A small compressed file may hold far more than it says.
            content = file.read(min(size, MOST_BYTES) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not 0 < size == len(content) <= MOST_BYTES:
        raise ValueError(f"{path} is damaged, or larger than {MOST_BYTES} bytes: it says that it holds {quoted(shape)}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _pair(folder: Path) -> tuple[Path, Path]:
    """The files of pictures and of labels."""
    found = sorted(folder.glob(f"*{IMAGES}*"), key=lambda path: (not path.name.startswith(PREFERRED), path.name))
    labels = folder / found[0].name.replace(IMAGES, LABELS)
    if not labels.is_file():
        raise ValueError(f"{found[0]} needs its labels beside it, in {labels.name}")
    return found[0], labels
