"""Picture files of cameras and of other tools at the size of a generator's images."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from dissect.segmenter import images_of
from dissect.sources.rasters import read_colours


def read_picture(path: str | Path, size: tuple[int, int]) -> Float[Tensor, "3 height width"]:
    """A JPEG or PNG file as an image in [-1, 1], turned as its camera says; grey ones get three equal channels.

    It is scaled to cover the size, and what sticks out is cut off on both sides alike.

    Args:
        path: The file.
        size: Height and width of a generator's images.

    Returns:
        The image, as `find_photograph` takes it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no picture of eight bits a channel, is damaged, or has too many pixels.
    """
    height, width = size
    fitted = ImageOps.fit(read_colours(Path(path)), (width, height), Image.Resampling.LANCZOS)
    return images_of(np.asarray(fitted)[None])[0]
