"""Specialties as pictures: those that light a unit and the rest of their class, their means, and what drives units."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageOps
from torch import Tensor

from dissect.sources.classes import ClassedPictures
from dissect.specialties.losses import parts_of
from dissect.specialties.specialties import Found, Specialties
from rewrite.reports.pictures import heat_colours, strips, to_pil

SHOWN, TILE, FRAME = 16, 64, 3
LOST, KEPT = (200, 40, 30), (255, 255, 255)
# Of what is shown, the greatest hundredth is clipped: single pixels would hide all others.
CLIPPED = 99
# Means are of at most so many pictures.
MOST_AVERAGED = 200


@dataclass(frozen=True)
class Sheets:
    """The pictures of one subclass.

    Attributes:
        inside, rest: Held-out pictures of it, those that light the unit most first, and of the rest of its class. Those
            that the network loses without the units have a frame.
        means: Its mean picture, that of the rest, the unit's mean gradient in the class, the positive part of that
            alone, and its mean activation, where units have maps.
    """

    inside: Image.Image | None
    rest: Image.Image | None
    means: Image.Image


def sheets_of(found: Specialties, one: Found, pictures: ClassedPictures) -> Sheets:
    """Draw one subclass."""
    test, training = found.test.responses, found.training
    parts, away = parts_of(one.subclass, test), found.test.sets.index(one.chosen)
    lost = (test.named == test.truth) & (found.test.named[:, away] != test.truth)
    peaks = test.peaks[:, one.subclass.unit]
    inside, rest = (_row(pictures, test.numbers, peaks, parts[name], lost) for name in ("subclass", "rest"))
    learnt = parts_of(one.subclass, training)
    views = found.views
    at = views.units.index(one.subclass.unit), views.classes.index(one.subclass.number)
    drawn = {
        "lit": _mean(pictures, training.numbers, learnt["subclass"]),
        "rest": _mean(pictures, training.numbers, learnt["rest"]),
        "gradient": _signed(views.gradient[at]),
        "positive": _heat(views.positive[at]),
    }
    if views.activation[at].numel() > 1:
        drawn["activation"] = _heat(views.activation[at])
    # Maps may be of a little other shape than pictures.
    size = _tile(drawn["lit"]).size
    tiles = [_tile(each).resize(size, Image.Resampling.NEAREST) for each in drawn.values()]
    return Sheets(inside, rest, strips({"": tiles}, list(drawn), columns=len(tiles), tile=TILE))


def by_class(found: Specialties, names: Sequence[str]) -> dict[str, Image.Image]:
    """For each kind of view a sheet with a row for each unit and a column for each class."""
    views = found.views
    columns = [names[number] for number in views.classes]
    kinds = {
        "gradient": (views.gradient, _signed),
        "positive": (views.positive, _heat),
        "activation": (views.activation, _heat),
    }
    sheets = {}
    for kind, (maps, drawn) in kinds.items():
        rows = {
            str(unit): [_tile(drawn(each, most=_most(maps[place]))) for each in maps[place]]
            for place, unit in enumerate(views.units)
        }
        sheets[kind] = strips(rows, columns, columns=len(columns), tile=TILE)
    return sheets


def _row(
    pictures: ClassedPictures, numbers: Sequence[int], peaks: Tensor, part: Bool[Tensor, " pictures"], lost: Tensor
) -> Image.Image | None:
    order = [place for place in peaks.argsort(descending=True, stable=True).tolist() if part[place]][:SHOWN]
    if not order:
        return None
    tiles = to_pil(pictures.images([numbers[place] for place in order]))
    framed = [
        ImageOps.expand(_tile(tile), FRAME, LOST if lost[place] else KEPT)
        for tile, place in zip(tiles, order, strict=True)
    ]
    return strips({"": framed}, columns=SHOWN // 2, tile=TILE)


def _mean(pictures: ClassedPictures, numbers: Sequence[int], part: Bool[Tensor, " pictures"]) -> Image.Image:
    chosen = [number for number, inside in zip(numbers, part.tolist(), strict=True) if inside][:MOST_AVERAGED]
    return to_pil(pictures.images(chosen).mean(dim=0, keepdim=True))[0]


def _most(maps: Float[Tensor, "..."]) -> float:
    """What is drawn in the strongest colour."""
    return max(float(np.percentile(maps.abs().numpy(), CLIPPED)), 1e-12)


def _signed(values: Float[Tensor, "height width"], most: float | None = None) -> Image.Image:
    """Red where a value is above zero, blue where it is below."""
    share = (values / (most or _most(values))).clamp(-1, 1)[..., None].numpy()
    faded = 1 - np.abs(share) * np.where(share > 0, (0.1, 0.75, 0.8), (0.8, 0.6, 0.1))
    return Image.fromarray(np.round(255 * faded).astype(np.uint8))


def _heat(values: Float[Tensor, "height width"], most: float | None = None) -> Image.Image:
    return Image.fromarray(heat_colours((values / (most or _most(values))).numpy()))


def _tile(picture: Image.Image) -> Image.Image:
    """A picture whose longer side is that of a tile; small ones keep their pixels sharp."""
    scale = TILE / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
