"""Folders of pictures with label maps beside them: Broden's layout, and ADE20K's."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int16, Int32, UInt8
from PIL import Image
from torch import Tensor

from dissect.segmenter import images_of
from dissect.sources.contract import checked
from dissect.sources.names import numbered, read_names, unique
from dissect.sources.pictures import LabelledPictures
from dissect.sources.rasters import read_colours, read_numbers, read_red_green, shape_of
from dissect.sources.tables import read_rows
from rewrite.reports.concepts import NONE, Concepts
from rewrite.storage.quoting import quoted
from rewrite.storage.walks import files_in

SIZE = 224
UNNAMED = NONE - 1
# What label maps of ADE20K, Cityscapes, Pascal VOC and others have where nothing is to be counted.
IGNORED = 255
ENDINGS = (".jpg", ".jpeg", ".png")
TABLES = ("objectInfo150.txt", "objectInfo150.csv", "names.txt", "labels.csv")
# Columns of Broden's index that say something else of a picture than its labels.
ABOUT = ("image", "split", "ih", "iw", "sh", "sw")


class Labelled(NamedTuple):
    """A picture and its labels.

    Attributes:
        picture: Its file.
        layers: For each layer the file of its label map, or one label for the whole picture.
    """

    picture: Path
    layers: tuple[Path | int, ...]


class PictureFolder(LabelledPictures):
    """Pictures of a folder, each made a square of one size; the number of a picture is its place in the list.

    Pictures are resized by bicubic interpolation and label maps to the nearest neighbour, both over the whole frame.

    Args:
        folder: The folder, for the sentence that says that it holds nothing.
        listed: The pictures.
        size: The side of the square in pixels.
        names: Name and category of each label number; 0 is no label.
        read: The label numbers in the file of a label map.
        nothing: Other numbers that are no label, where they have no name.

    Raises:
        FileNotFoundError: A picture or a label map is missing.
        ValueError: The size is less than 1, no picture is listed, or a picture's label has no name.
    """

    def __init__(
        self,
        folder: Path,
        listed: Sequence[Labelled],
        size: int,
        names: Mapping[int, tuple[str, str]],
        read: Callable[[Path], Int32[np.ndarray, "height width"]],
        nothing: Sequence[int] = (),
    ):
        if size < 1:
            raise ValueError(f"the side of pictures is 1 or more pixels, got {size}")
        if not listed:
            raise ValueError(f"{folder} holds no picture with labels")
        self.listed, self.size, self._read = tuple(listed), size, read
        self.numbers = range(len(self.listed))
        labels = sorted(set(names) - {0})
        self.concepts = Concepts(unique(names[label][0] for label in labels), tuple(names[each][1] for each in labels))
        # What is beyond the last label is as unnamed as what is between two of them.
        self._concept_of = np.full(max(labels[-1], *nothing, 0) + 2, UNNAMED, dtype=np.int16)
        self._concept_of[list(nothing)] = NONE
        self._concept_of[labels] = range(len(labels))
        self._concept_of[0] = NONE
        self.layers = max(len(each.layers) for each in self.listed)
        self.identity = f"{type(self).__name__.lower()} {self._digest()}"

    def images(self, numbers: Sequence[int]) -> Float[Tensor, "images 3 height width"]:
        return images_of(np.stack([self._shrunk(read_colours(self.listed[number].picture)) for number in numbers]))

    def labels(self, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        maps = np.stack([self._maps(self.listed[number]) for number in numbers])
        return checked(torch.from_numpy(maps), len(numbers), self.concepts)

    def _shrunk(self, picture: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
        return np.asarray(picture.resize((self.size, self.size), Image.Resampling.BICUBIC))

    def _maps(self, labelled: Labelled) -> Int16[np.ndarray, "layers height width"]:
        maps = np.full((self.layers, self.size, self.size), NONE, dtype=np.int16)
        for i, layer in enumerate(labelled.layers):
            found = self._concepts_in(layer, labelled.picture)
            # A thing that two layers name, as cloth is an object and a material, is there once.
            maps[i] = np.where((maps[:i] == found).any(axis=0), NONE, found)
        return maps

    def _concepts_in(self, layer: Path | int, picture: Path) -> Int16[np.ndarray, "height width"]:
        """The concepts of a layer: a map of the square's size, or one pixel that stands for the whole picture."""
        numbers = np.full((1, 1), layer) if isinstance(layer, int) else self._squared(layer, picture)
        found = self._concept_of[np.minimum(numbers, len(self._concept_of) - 1)]
        if (found == UNNAMED).any():
            where = picture if isinstance(layer, int) else layer
            raise ValueError(f"{where} has the label {numbers[found == UNNAMED].min()}, which has no name")
        return found

    def _squared(self, layer: Path, picture: Path) -> Int32[np.ndarray, "height width"]:
        numbers, shape = self._read(layer), shape_of(picture)
        (height, width), (rows, columns) = shape, numbers.shape
        if abs(height * columns - width * rows) > max(*shape, *numbers.shape):
            raise ValueError(
                f"a label map has the shape of its picture, {layer} has {rows} x {columns} pixels, {picture.name} has "
                f"{height} x {width}"
            )
        places = (np.arange(self.size) + 0.5) / self.size
        return numbers[np.ix_((places * rows).astype(int), (places * columns).astype(int))]

    def _digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 over names, sizes of files, labels and their names.

        All files are looked for, and the names of labels for whole pictures, before the work starts.
        """
        digest = hashlib.sha256(f"{self.size} {self.concepts.names} {self._concept_of.tolist()}\n".encode())
        for picture, layers in self.listed:
            found: list[object] = []
            for each in (picture, *layers):
                if isinstance(each, int):
                    self._concepts_in(each, picture)
                found.append(each if isinstance(each, int) else (each.name, _bytes_in(each)))
            digest.update(f"{found}\n".encode())
        return digest.hexdigest()[:16]


class Within:
    """Paths that stay in a folder.

    Attributes:
        folder: The folder.
    """

    def __init__(self, folder: Path):
        self.folder, self._root = folder, folder.resolve()
        self._known: dict[str, bool] = {}

    def path(self, name: str) -> Path:
        """The path of a name below the folder.

        Raises:
            ValueError: It is elsewhere, by its name or by a link.
        """
        path = self.folder / name
        # Of thousands of files in few folders, each folder is followed once, and of the files those that are links.
        parent = str(path.parent)
        if parent not in self._known:
            self._known[parent] = self._holds(path.parent)
        if not self._known[parent] or ((path.name == ".." or path.is_symlink()) and not self._holds(path)):
            raise ValueError(f"a path in a table stays in its folder {self.folder}, got {quoted(name)}")
        return path

    def _holds(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self._root)


class Broden(PictureFolder):
    """A folder laid out as Broden, the data set of Network Dissection (Bau et al., CVPR 2017).

    `index.csv` names pictures below `images`, and in a column for each category their labels: files below `images`
    that hold label numbers in red and green, or numbers for the whole picture, several with semicolons between them.
    `label.csv` gives each number a name and its categories, of which the first counts. Pictures without any label are
    left out.

    Raises:
        FileNotFoundError: A table, a picture or a label map is missing.
        ValueError: A table lacks a column, a path leaves the folder, a label has no name, or no picture has labels.
    """

    def __init__(self, folder: str | Path, size: int = SIZE):
        folder = _existing(Path(folder))
        rows = read_rows(folder / "index.csv", ("image",))
        kinds = [column for column in rows[0] if column not in ABOUT]
        if not kinds:
            raise ValueError(f"{folder / 'index.csv'} needs a column for each category of labels, it has none")
        images, listed = Within(folder / "images"), []
        for row in rows:
            cells = [cell.strip() for kind in kinds for cell in row[kind].split(";")]
            layers = [int(cell) if _is_number(cell) else images.path(cell) for cell in cells if cell]
            # The number 0 says that there is no label.
            if any(layers):
                listed.append(Labelled(images.path(row["image"]), tuple(each for each in layers if each)))
        super().__init__(folder, listed, size, _broden_names(folder / "label.csv"), read_red_green)


class Annotations(PictureFolder):
    """A folder laid out as ADE20K's scene parsing: pictures below `images`, label maps below `annotations`.

    The label map of `images/some/picture.jpg` is `annotations/some/picture.png`; its pixels are label numbers, 0 for
    none. Pictures without a label map are left out.

    Args:
        folder: The folder.
        size: The side in pixels to which pictures are resized.
        names: A file that `read_names` reads; where it is left out, objectInfo150.txt, names.txt or labels.csv in the
            folder.
        ignore: The number of pixels that are not to be counted, where it has no name; None for no such number.

    Raises:
        FileNotFoundError: A folder, the names or the picture of a label map are missing.
        ValueError: A path leaves the folder, two pictures have one label map, or there is none.
    """

    def __init__(
        self, folder: str | Path, size: int = SIZE, names: str | Path | None = None, ignore: int | None = IGNORED
    ):
        folder = _existing(Path(folder))
        images, maps = _existing(folder / "images"), _existing(folder / "annotations")
        tables = [folder / name for name in TABLES if (folder / name).is_file()] if names is None else [Path(names)]
        if not tables:
            raise FileNotFoundError(f"{folder} needs a file with the names of its labels: one of {', '.join(TABLES)}")
        pictures, listed = _by_name(images, ENDINGS, folder), []
        for name, path in _by_name(maps, (".png",), folder).items():
            if name not in pictures:
                raise FileNotFoundError(f"there is no picture in {images} for the label map {path}")
            listed.append(Labelled(pictures[name], (path,)))
        named = {number: (name, "object") for number, name in read_names(tables[0]).items()}
        nothing = () if ignore is None else (ignore,)
        super().__init__(folder, listed, size, named, read_numbers, nothing)


def _by_name(folder: Path, endings: tuple[str, ...], within: Path) -> dict[str, Path]:
    """The files of a folder by their names without the ending, in order.

    Raises:
        ValueError: Two files have one name, or a link leads elsewhere.
    """
    found: dict[str, Path] = {}
    for path in files_in(folder, endings, within):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if found.setdefault(name, path) != path:
            raise ValueError(f"a label map belongs to one picture, got {found[name]} and {path}")
    return found


def _broden_names(path: Path) -> dict[int, tuple[str, str]]:
    """Name and first category of each label: `fabric` with `material(36);object(3)` is a material."""
    rows = read_rows(path, ("number", "name", "category"))
    names = numbered([(row["number"], row["name"]) for row in rows], path)
    kinds = numbered(
        [(row["number"], re.split("[(;]", row["category"])[0]) for row in rows if row["name"].strip()], path
    )
    return {number: (name, kinds.get(number, "object")) for number, name in names.items()}


def _is_number(cell: str) -> bool:
    return cell.isdecimal() and len(cell) < 10


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    return folder


def _bytes_in(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        raise FileNotFoundError(f"there is no file {path}") from None
