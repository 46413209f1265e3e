"""A folder of images without labels."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from dissect.segmenter import images_of
from dissect.sources.folders import ENDINGS
from dissect.sources.pictures import Pictures
from dissect.sources.rasters import read_colours
from rewrite.storage.walks import files_in


class ImageFolder(Pictures):
    """The images of a folder and its folders; the number of one is its place in the sorted list of their paths.

    Each is scaled to cover the size that is asked for, and what sticks out is cut off on both sides alike.

    Args:
        folder: The folder.
        size: Height and width that images are brought to.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds no image, or a link that leads elsewhere.
    """

    def __init__(self, folder: str | Path, size: tuple[int, int]):
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder of images {folder}")
        self.size = size
        self.paths = list(files_in(folder, ENDINGS))
        if not self.paths:
            raise ValueError(f"{folder} holds no image ({', '.join(ENDINGS)})")
        self.numbers = range(len(self.paths))
        digest = hashlib.sha256(f"{size}\n".encode())
        for path in self.paths:
            digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        self.identity = f"{len(self.paths)} images {digest.hexdigest()[:16]}"

    def images(self, numbers: Sequence[int]) -> Float[Tensor, "images 3 height width"]:
        size = (self.size[1], self.size[0])
        fitted = [ImageOps.fit(read_colours(self.paths[number]), size, Image.Resampling.BICUBIC) for number in numbers]
        return images_of(np.stack([np.asarray(each) for each in fitted]))
