"""Picture files as arrays: colours and label numbers, read with no trust in what is in the file."""

import warnings
from pathlib import Path
from struct import error as StructError

import numpy as np
from jaxtyping import Int32
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from rewrite.storage.quoting import reason_of

# Other formats start other programs, or are not what labelled pictures come in.
FORMATS = ("JPEG", "PNG")
MOST_PIXELS = 2**26
# What cameras write, and the orientations of one that was held upright.
CAMERAS, LYING = "JPEG", (5, 6, 7, 8)
COLOURED = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
NUMBERED = {"1", "L", "P", "I;16", "I;16L", "I;16B", "I;16N", "I"}


def read_colours(path: Path) -> Image.Image:
    """A photograph or drawing in RGB, turned as its camera says; transparency is left out.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a picture of eight bits a channel, is cut short or damaged, or is too large.
    """
    picture = _read(path, "picture")
    if picture.mode not in COLOURED:
        raise ValueError(f"a picture has eight bits a channel, {path} is of mode {picture.mode}")
    if picture.format == CAMERAS:
        picture = ImageOps.exif_transpose(picture)
    # By way of RGBA a palette with transparent entries keeps its colours.
    return (picture.convert("RGBA") if "transparency" in picture.info else picture).convert("RGB")


def read_numbers(path: Path) -> Int32[np.ndarray, "height width"]:
    """A label map that has one number a pixel.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a PNG file of one channel, is cut short or damaged, or is too large.
    """
    picture = _label_map(path)
    if picture.mode not in NUMBERED:
        raise ValueError(f"a label map has one number a pixel, {path} has the channels {', '.join(picture.getbands())}")
    return np.asarray(picture).astype(np.int32)


def read_red_green(path: Path) -> Int32[np.ndarray, "height width"]:
    """A label map that has its numbers in red, and in green what passes 255, as Broden writes them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a PNG file of red, green and blue, is cut short or damaged, or is too large.
    """
    picture = _label_map(path)
    if picture.mode not in ("RGB", "RGBA"):
        raise ValueError(
            f"a label map has its numbers in red and green, {path} has the channels {', '.join(picture.getbands())}"
        )
    channels = np.asarray(picture)
    return channels[:, :, 0] + 256 * channels[:, :, 1].astype(np.int32)


def shape_of(path: Path) -> tuple[int, int]:
    """Height and width of a picture in pixels, turned as its camera says; only its header is read.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a picture, or is too large.
    """
    picture = _read(path, "picture", pixels=False)
    turned = picture.format == CAMERAS and picture.getexif().get(ExifTags.Base.Orientation) in LYING
    return (picture.width, picture.height) if turned else (picture.height, picture.width)


def _label_map(path: Path) -> Image.Image:
    picture = _read(path, "label map")
    if picture.format != "PNG":
        raise ValueError(
            f"a label map is a PNG file, {path} is a {picture.format}, which changes the numbers of labels"
        )
    return picture


def _read(path: Path, kind: str, *, pixels: bool = True) -> Image.Image:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {kind} {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                if pixels:
                    picture.load()
                return picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"a {kind} has at most {MOST_PIXELS} pixels, {path} has more") from None
    except UnidentifiedImageError:
        raise ValueError(f"a {kind} is a JPEG or PNG file, {path} is neither") from None
    except (OSError, SyntaxError, ValueError, EOFError, StructError, OverflowError) as error:
        raise ValueError(f"{path} is damaged: {reason_of(error)}") from None
