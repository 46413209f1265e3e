"""Draw the animation at the head of the README: a wipe from before to after, over the same seeds.

python -m apps.towers.animate --out docs/rewrite.webp
"""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from apps.memories import memory_of
from rewrite import Rule, load_generator, solve
from rewrite.reports.pictures import to_pil
from rewrite.rules import rule_path
from rewrite.storage.files import write_whole

SEEDS = (3, 5, 0, 12, 9, 15, 10, 7)
COLUMNS, TILE, GAP = 4, 160, 6
STEPS, REST, STEP = 16, 1400, 45
BACKGROUND, LINE = (255, 255, 255), (255, 255, 255)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rule", default="tree-on-towers", help="a rule of the built-in generator")
    parser.add_argument("--out", type=Path, default=Path("docs/rewrite.webp"), help="the file to write")
    options = parser.parse_args()
    generator, rule = load_generator(), Rule.load(rule_path(options.rule))
    before = to_pil(generator.sample(SEEDS))
    with solve(generator, memory_of(generator, rule.layer, 2000, progress=True), rule).applied(generator):
        after = to_pil(generator.sample(SEEDS))
    frames, times = animation(sheet(before), sheet(after))
    written = io.BytesIO()
    frames[0].save(
        written, "WEBP", save_all=True, append_images=frames[1:], duration=times, loop=0, quality=80, method=6
    )
    write_whole(options.out, lambda path: path.write_bytes(written.getvalue()))
    print(f"{len(frames)} frames, {len(written.getvalue()) // 1024} KB, in {options.out}")


def sheet(tiles: Sequence[Image.Image]) -> Image.Image:
    """The tiles in rows."""
    rows = -(-len(tiles) // COLUMNS)
    size = (COLUMNS * (TILE + GAP) - GAP, rows * (TILE + GAP) - GAP)
    whole = Image.new("RGB", size, BACKGROUND)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        large = tile.resize((TILE, TILE), Image.Resampling.BICUBIC)
        whole.paste(large, (column * (TILE + GAP), row * (TILE + GAP)))
    return whole


def animation(before: Image.Image, after: Image.Image) -> tuple[list[Image.Image], list[int]]:
    """A wipe there and back within every tile, and how long each frame stands, in milliseconds."""
    there = [wiped(before, after, step / STEPS) for step in range(STEPS + 1)]
    frames = [*there, *there[-2:0:-1]]
    return frames, [REST if number in (0, STEPS) else STEP for number in range(len(frames))]


def wiped(before: Image.Image, after: Image.Image, share: float) -> Image.Image:
    """Both pictures, with the left share of every tile from after."""
    frame, width = before.copy(), round(share * TILE)
    for left in range(0, before.width, TILE + GAP):
        part = (left, 0, left + width, before.height)
        frame.paste(after.crop(part), part)
        if 0 < width < TILE:
            frame.paste(LINE, (left + width, 0, left + width + 2, before.height))
    return frame


if __name__ == "__main__":
    main()
