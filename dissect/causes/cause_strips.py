"""The same images as they are, with a set of units off, and with it on in a block."""

import torch
from PIL import Image, ImageDraw

from dissect.causes.blocks import block_at, cells_of, enlarged
from dissect.causes.causes import FIRST_VALIDATION, Cause, Causes
from dissect.causes.experiment import Experiment, areas_of
from dissect.causes.intervention import Intervention
from rewrite.reports.pictures import strips, to_pil

SHOWN, LOOKED_AT, SCALE = 8, 48, 2
FRAME = (255, 214, 64)


def strips_of(experiment: Experiment, causes: Causes) -> dict[str, Image.Image]:
    """For each concept, some images that show it."""
    return {cause.concept: strip_of(experiment, cause, causes.side) for cause in causes.causes}


def strip_of(experiment: Experiment, cause: Cause, side: int) -> Image.Image:
    """The images among the first that show most of a concept, in three rows; the block is framed in the last."""
    number = experiment.source.concepts.number(cause.concept)
    seeds = _showing(experiment, number)
    prefix = experiment.prefix(seeds)
    grid = tuple(prefix.output.shape[2:])
    blocks = block_at([cells_of(seed, grid, 1)[0] for seed in seeds], grid, side)
    mask = torch.cat([blocks, blocks[-1:].expand(len(prefix.output) - len(blocks), -1, -1)]).float()
    levels = tuple(float(cause.values[unit]) for unit in cause.set)
    off, on = Intervention.off(cause.set), Intervention(cause.set, levels, mask=mask)
    states = {"as it is": prefix.images(), "off": prefix.images(off), "on": prefix.images(on)}
    rows = {name: to_pil(images) for name, images in states.items()}
    rows["on"] = [_framed(tile, block) for tile, block in zip(rows["on"], blocks, strict=True)]
    rows = {name: [_doubled(tile) for tile in tiles] if name != "on" else tiles for name, tiles in rows.items()}
    return strips(rows, [str(seed - FIRST_VALIDATION) for seed in seeds], tile=64)


def _showing(experiment: Experiment, number: int) -> tuple[int, ...]:
    seeds = tuple(range(FIRST_VALIDATION, FIRST_VALIDATION + LOOKED_AT))
    labels = experiment.source.label(experiment.generator.sample(seeds), seeds)
    shown = areas_of(labels, len(experiment.source.concepts))[:, number]
    return tuple(sorted(seeds[i] for i in shown.argsort(descending=True, stable=True)[:SHOWN].tolist()))


def _doubled(tile: Image.Image) -> Image.Image:
    return tile.resize((tile.width * SCALE, tile.height * SCALE), Image.Resampling.LANCZOS)


def _framed(tile: Image.Image, block: torch.Tensor) -> Image.Image:
    tile = _doubled(tile)
    over = enlarged(block[None], (tile.height, tile.width))[0]
    rows, columns = torch.nonzero(over.any(dim=1))[:, 0], torch.nonzero(over.any(dim=0))[:, 0]
    box = (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))
    ImageDraw.Draw(tile).rectangle(box, outline=FRAME)
    return tile
