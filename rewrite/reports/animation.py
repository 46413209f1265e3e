"""Images before and after an edit as one animation: a wipe there and back within every tile."""

import io
from collections.abc import Sequence

from PIL import Image

COLUMNS, TILE, GAP = 4, 160, 6
STEPS, REST, STEP = 16, 1400, 45
BACKGROUND, LINE = (255, 255, 255), (255, 255, 255)


def animated(before: Sequence[Image.Image], after: Sequence[Image.Image], *, method: int = 2) -> bytes:
    """A WebP file that repeats for ever.

    Args:
        before: The tiles before the edit.
        after: The same tiles after it.
        method: How hard the file is made small, from 0 (fast) to 6.

    Returns:
        The content of the file.

    Raises:
        ValueError: There are no tiles, or their numbers differ.
    """
    if not before or len(before) != len(after):
        raise ValueError(f"an animation is of as many tiles before as after, got {len(before)} and {len(after)}")
    frames, times = _frames(_sheet(before), _sheet(after))
    written = io.BytesIO()
    frames[0].save(
        written, "WEBP", save_all=True, append_images=frames[1:], duration=times, loop=0, quality=80, method=method
    )
    return written.getvalue()


def _sheet(tiles: Sequence[Image.Image]) -> Image.Image:
    """The tiles in rows."""
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    whole = Image.new("RGB", (columns * (TILE + GAP) - GAP, rows * (TILE + GAP) - GAP), BACKGROUND)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        large = tile.convert("RGB").resize((TILE, TILE), Image.Resampling.BICUBIC)
        whole.paste(large, (column * (TILE + GAP), row * (TILE + GAP)))
    return whole


def _frames(before: Image.Image, after: Image.Image) -> tuple[list[Image.Image], list[int]]:
    """A wipe there and back, and how long each frame stands, in milliseconds."""
    there = [_wiped(before, after, step / STEPS) for step in range(STEPS + 1)]
    frames = [*there, *there[-2:0:-1]]
    return frames, [REST if number in (0, STEPS) else STEP for number in range(len(frames))]


def _wiped(before: Image.Image, after: Image.Image, share: float) -> Image.Image:
    """Both pictures, with the left share of every tile from after."""
    frame, width = before.copy(), round(share * TILE)
    for left in range(0, before.width, TILE + GAP):
        part = (left, 0, left + width, before.height)
        frame.paste(after.crop(part), part)
        if 0 < width < TILE:
            frame.paste(LINE, (left + width, 0, left + width + 2, before.height))
    return frame
