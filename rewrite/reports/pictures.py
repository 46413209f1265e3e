"""Images become pictures: grids with captions, strips of the same seeds before and after, heat-maps laid over."""

import functools
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, binary_erosion
from torch import Tensor

from rewrite.generators.colours import COLOURED
from rewrite.storage import files

TILE = 128
COLUMNS = 8
BACKGROUND, INK = (255, 255, 255), (70, 70, 70)
BRIGHT, DARK = (255, 222, 0), (40, 0, 60)
LINE, SPACE, CAPTION, MARGIN = 2, 10, 15, 18
FONT_SIZE = 11
FAINT = 0.95
SHADES = 1000

# OKLab to linear sRGB (Ottosson 2020).
TO_CONES = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


class Pair(NamedTuple):
    """One image before and after an edit."""

    caption: str
    before: Image.Image
    after: Image.Image


def pixels(images: Float[Tensor, "images colours height width"]) -> UInt8[np.ndarray, "images height width colours"]:
    """Images in [-1, 1] as bytes; what overshoots is clipped."""
    scaled = images.detach().float().cpu().clamp(-1, 1).add(1).mul(127.5).round()
    return scaled.byte().permute(0, 2, 3, 1).numpy()


def to_pil(images: Tensor) -> list[Image.Image]:
    """Images as Pillow pictures of the same size.

    Args:
        images: Of shape (images, 3 or 4, height, width), in [-1, 1]; what lies beyond is clipped. A fourth channel is
            opacity.

    Returns:
        One picture for each image.

    Raises:
        ValueError: It is something else than images in colour.
    """
    if images.ndim != 4 or images.shape[1] not in COLOURED or not images.is_floating_point():
        raise ValueError(
            f"images are numbers in [-1, 1] of shape (images, 3, height, width), got {images.dtype} of shape "
            f"{tuple(images.shape)}"
        )
    return [Image.fromarray(array) for array in pixels(images)]


def show(images: Tensor, captions: Sequence[str] = (), *, columns: int = COLUMNS, tile: int = TILE) -> Image.Image:
    """Images in rows as one picture, which a notebook shows where it is the last thing in a cell.

    Args:
        images: Of shape (images, 3, height, width), in [-1, 1]; what lies beyond is clipped.
        captions: One text for each image, or none at all.
        columns: Images in one row.
        tile: Smaller images are enlarged by a whole number to at least this width in pixels, and images of more than
            twice this width are reduced to that.

    Returns:
        The picture; `.save(path)` writes it.

    Raises:
        ValueError: It is something else than images in colour, there are none, or their captions differ in number.
    """
    return grid(to_pil(images), captions, columns=columns, tile=tile)


def heat_colours(values: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape 3"]:
    """Colours for values from 0 (dark violet) to 1 (light yellow), to a thousandth of the way.

    Lightness grows evenly with the value (OKLab), so that the order is seen in grey and by colour-blind eyes too.
    """
    share = np.clip(np.asarray(values, dtype=np.float64), 0, 1)
    return _colour_scale()[np.round(SHADES * share).astype(np.intp)]


@functools.cache
def _colour_scale() -> UInt8[np.ndarray, "shades 3"]:
    share = np.linspace(0, 1, SHADES + 1)
    hue = np.radians(300 + 165 * share)
    chroma = 0.1 + 0.3 * share * (1 - share)
    lab = np.stack([0.25 + 0.7 * share, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1)
    linear = np.clip((lab @ TO_CONES.T) ** 3 @ TO_RGB.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)


def overlay(
    image: Float[Tensor, "3 height width"], heat: Float[Tensor, "height width"], *, faint: float = FAINT
) -> Image.Image:
    """Lay a heat-map over the grey image.

    Args:
        image: In [-1, 1].
        heat: Values from 0 to 1, such as the quantiles of `rewrite.reports.firing`.
        faint: Values up to here are not coloured; from here to 1 the colours run from dark to light.
    """
    grey = 0.6 * pixels(image[None])[0].astype(np.float64).mean(axis=-1, keepdims=True) + 40
    share = np.clip((heat.detach().cpu().double().numpy() - faint) / (1 - faint), 0, 1)
    opacity = 0.9 * np.sqrt(share)[..., None]
    return Image.fromarray(np.round(grey * (1 - opacity) + heat_colours(share) * opacity).astype(np.uint8))


def outlined(
    image: Float[Tensor, "3 height width"], masks: Sequence[Bool[np.ndarray, "rows columns"]], *, tile: int = TILE
) -> Image.Image:
    """An image with the outlines of some regions, enlarged by a whole number to at least a width in pixels."""
    picture = _fitted(to_pil(image[None])[0], tile)
    drawn = np.array(picture)
    for mask in masks:
        scaled = np.array(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
        # Dark around bright: one of the two is seen on any background.
        drawn[binary_dilation(scaled, iterations=2) & ~scaled] = DARK
        drawn[scaled & np.logical_not(binary_erosion(scaled, iterations=2, border_value=True))] = BRIGHT
    return Image.fromarray(drawn)


def change_map(change: Float[np.ndarray, "height width"]) -> Image.Image:
    """A map of mean change as a picture, from none (dark) to the most that there is (light)."""
    return Image.fromarray(heat_colours(change / max(float(change.max()), 1e-12)))


def grid(
    tiles: Sequence[Image.Image], captions: Sequence[str] = (), *, columns: int = COLUMNS, tile: int = TILE
) -> Image.Image:
    """Tiles in rows, each with its caption below.

    Args:
        tiles: Pictures of one size.
        captions: One text for each tile, or none at all.
        columns: Tiles in one row.
        tile: Smaller tiles are enlarged by a whole number to at least this width in pixels, and tiles of more than
            twice this width are reduced to that.
    """
    return strips({"": tiles}, captions, columns=columns, tile=tile)


def before_after(
    before: Sequence[Image.Image],
    after: Sequence[Image.Image],
    captions: Sequence[str] = (),
    *,
    columns: int = COLUMNS,
    tile: int = TILE,
) -> Image.Image:
    """The same seeds in pairs of rows: as they were above, as they are below."""
    return strips({"before": before, "after": after}, captions, columns=columns, tile=tile)


def strips(
    rows: Mapping[str, Sequence[Image.Image]], captions: Sequence[str] = (), *, columns: int = COLUMNS, tile: int = TILE
) -> Image.Image:
    """Rows of tiles that belong together column by column, folded after `columns` tiles.

    Args:
        rows: The name of each row, written beside it, and its tiles; all rows are of one length.
        captions: One text for each column, or none at all.
        columns: Tiles side by side.
        tile: Smaller tiles are enlarged by a whole number to at least this width in pixels, and tiles of more than
            twice this width are reduced to that.

    Raises:
        ValueError: There are no tiles, the tiles have several sizes, or numbers of tiles and captions differ.
    """
    count = len(next(iter(rows.values()), ()))
    _check(rows, count, captions, columns)
    fitted = [[_fitted(one, tile) for one in row] for row in rows.values()]
    width, height = fitted[0][0].size
    columns, margin = min(columns, count), MARGIN if any(rows) else 0
    block = len(rows) * (height + LINE) - LINE + (CAPTION if captions else 0)
    blocks = math.ceil(count / columns)
    size = (margin + columns * (width + LINE) - LINE, blocks * (block + SPACE) - SPACE)
    sheet = Image.new("RGB", (size[0] + 2 * SPACE, size[1] + 2 * SPACE), BACKGROUND)
    for number in range(count):
        left = SPACE + margin + number % columns * (width + LINE)
        top = SPACE + number // columns * (block + SPACE)
        for position, row in enumerate(fitted):
            sheet.paste(row[number], (left, top + position * (height + LINE)))
        if captions:
            _write(sheet, captions[number], (left, top + block - CAPTION, width, CAPTION))
    for fold in range(blocks):
        for position, name in enumerate(rows):
            _write_upright(sheet, name, (SPACE, SPACE + fold * (block + SPACE) + position * (height + LINE)), height)
    return sheet


def save_picture(path: str | Path, picture: Image.Image) -> None:
    """Write a PNG file, whole or not at all.

    Raises:
        ValueError: The name does not end in .png, or the file cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"pictures are written as PNG, so the file's name must end in .png, got {path}")
    content = png(picture)
    files.write_whole(path, lambda temporary: temporary.write_bytes(content))


def png(picture: Image.Image) -> bytes:
    """A picture as the content of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _check(rows: Mapping[str, Sequence[Image.Image]], count: int, captions: Sequence[str], columns: int) -> None:
    if count == 0:
        raise ValueError("a grid needs at least one tile, got none")
    if columns < 1:
        raise ValueError(f"a grid has at least one column, got {columns}")
    lengths = {len(row) for row in rows.values()} | ({len(captions)} if captions else set())
    if lengths != {count}:
        raise ValueError(f"rows and captions must have one length, got {' and '.join(map(str, sorted(lengths)))}")
    sizes = {one.size for row in rows.values() for one in row}
    if len(sizes) > 1:
        found = " and ".join(f"{width} x {height}" for width, height in sorted(sizes))
        raise ValueError(f"tiles of a grid must have one size, got {found}")


def _fitted(tile: Image.Image, width: int) -> Image.Image:
    factor = max(1, math.ceil(width / tile.width))
    size = (tile.width * factor, tile.height * factor)
    if tile.width > 2 * width:
        size = (2 * width, round(tile.height * 2 * width / tile.width))
    return tile.convert("RGB") if size == tile.size else tile.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _write(sheet: Image.Image, text: str, box: tuple[int, int, int, int]) -> None:
    """Write one line in the middle of a box (left, top, width, height), shortened where it does not fit."""
    left, top, width, height = box
    pen, font = ImageDraw.Draw(sheet), _font()
    while pen.textlength(text, font=font) > width and len(text) > 1:
        text = text.rstrip("…")[:-1] + "…"
    pen.text((left + width / 2, top + height / 2), text, INK, font, anchor="mm")


def _write_upright(sheet: Image.Image, text: str, corner: tuple[int, int], height: int) -> None:
    """Write one line from the bottom to the top, in the margin left of a row."""
    if not text:
        return
    label = Image.new("RGB", (height, MARGIN - 4), BACKGROUND)
    _write(label, text, (0, 0, *label.size))
    sheet.paste(label.transpose(Image.Transpose.ROTATE_90), corner)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)
