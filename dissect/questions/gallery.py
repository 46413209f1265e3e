"""The pictures that answers are counted on, as they are shown: small, and with what a part gives for each.

Both are kept as far as memory is allowed for them, and found out again where it is not.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from dissect.sources.classes import ClassedPictures
from rewrite.classifiers.classifier import Classifier
from rewrite.generators.batches import batched
from rewrite.generators.maps import as_maps
from rewrite.reports.pictures import pixels

BATCH = 32
# The longer side of a picture as it is shown.
SIDE = 128
MOST_BYTES = 192 * 2**20


class Gallery:
    """Pictures as they are shown, and their maps.

    Args:
        classifier: The classifier.
        part: Path of the part.
        pictures: Where the pictures are from.
        most_bytes: How much memory pictures and maps may take, each.
    """

    def __init__(self, classifier: Classifier, part: str, pictures: ClassedPictures, most_bytes: int = MOST_BYTES):
        self.classifier, self.part, self.pictures = classifier, part, pictures
        self._left = {"pixels": most_bytes, "maps": most_bytes}
        self._pixels: dict[int, UInt8[np.ndarray, "height width 3"]] = {}
        self._maps: dict[int, Float[Tensor, "units rows columns"]] = {}

    def keep(self, numbers: Sequence[int], images: Tensor, output: Tensor) -> None:
        """Take some pictures up as far as there is room.

        Args:
            numbers: The pictures.
            images: They, in [-1, 1].
            output: What the part gives for them.
        """
        shown, maps = pixels(fitted(images, SIDE)), as_maps(output).half().cpu()
        for place, number in enumerate(numbers):
            if self._fits("pixels", shown[place].nbytes):
                self._pixels[number] = shown[place]
            if self._fits("maps", maps[place].nbytes):
                self._maps[number] = maps[place].clone()

    def _fits(self, name: str, size: int) -> bool:
        """Whether there is room for more, which is taken."""
        fits = size <= self._left[name]
        self._left[name] -= size if fits else 0
        return fits

    def shown(self, numbers: Sequence[int]) -> dict[int, UInt8[np.ndarray, "height width 3"]]:
        """Pictures by number, whose longer side is at most 128 pixels."""
        found = {number: self._pixels[number] for number in numbers if number in self._pixels}
        for part in batched((number for number in dict.fromkeys(numbers) if number not in found), BATCH):
            found |= dict(zip(part, pixels(fitted(self.pictures.images(part), SIDE)), strict=True))
        return found

    @torch.no_grad()
    def maps(self, numbers: Sequence[int]) -> dict[int, Float[Tensor, "units rows columns"]]:
        """What the part gives for pictures, by number; vectors are maps of one position."""
        found = {number: self._maps[number].float() for number in numbers if number in self._maps}
        for part in batched((number for number in dict.fromkeys(numbers) if number not in found), BATCH):
            output = self.classifier.stop(self.part, self.pictures.images(part)).output
            found |= dict(zip(part, as_maps(output).cpu().float(), strict=True))
        return found


def fitted(images: Float[Tensor, "images 3 height width"], side: int) -> Float[Tensor, "images 3 rows columns"]:
    """Images whose longer side is at most so many pixels."""
    height, width = images.shape[-2:]
    scale = side / max(height, width)
    if scale >= 1:
        return images
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
