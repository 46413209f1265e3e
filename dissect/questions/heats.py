"""Where units are active in pictures, as pictures."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from dissect.questions.examination import Examination
from dissect.units.upsampling import upsampling
from rewrite.reports.pictures import heat_colours

# Of the unit's highest peak: what is less has no colour.
FAINT = 0.2


def tops(examination: Examination, unit: int, count: int) -> list[int]:
    """The pictures that light a unit most, of those that answers are counted on, the most first.

    Args:
        examination: What is known of the part and of pictures.
        unit: The unit.
        count: How many.
    """
    order = examination.test.peaks[:, unit].argsort(descending=True, stable=True)[:count]
    return [examination.test.numbers[place] for place in order.tolist()]


def heats(examination: Examination, wanted: Sequence[tuple[int, int]]) -> list[Image.Image]:
    """Pictures with where a unit is active in colour on grey, from a fifth of its highest peak on.

    A picture is in colour, without heat, where the units are no maps.

    Args:
        examination: What is known of the part and of pictures.
        wanted: Units, each with the number of a picture.
    """
    if not wanted:
        return []
    numbers = [number for _, number in wanted]
    shown, maps = examination.gallery.shown(numbers), examination.gallery.maps(numbers)
    highest = examination.test.peaks.amax(dim=0).clamp(min=1e-12)
    heat = torch.stack([maps[number][unit] / highest[unit] for unit, number in wanted])
    if heat[0].numel() == 1:
        return [Image.fromarray(shown[number]) for number in numbers]
    enlarged = _enlarged(heat, shown[numbers[0]].shape[:2]).clamp(0, 1).numpy()
    return [Image.fromarray(_laid(shown[number], each)) for number, each in zip(numbers, enlarged, strict=True)]


def _enlarged(heat: Float[Tensor, "pairs rows columns"], size: Sequence[int]) -> Float[Tensor, "pairs height width"]:
    enlarge = upsampling((heat.shape[1], heat.shape[2]), tuple(size), heat.device)
    return enlarge.everywhere(heat[:, None])[:, 0]


def _laid(
    picture: UInt8[np.ndarray, "height width 3"], heat: Float[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Heat over a picture in grey, in the manner of `rewrite.reports.pictures.overlay`."""
    grey = 0.6 * picture.mean(axis=-1, keepdims=True) + 40
    share = np.clip((heat - FAINT) / (1 - FAINT), 0, 1)
    opacity = 0.9 * np.sqrt(share)[..., None]
    return np.round(grey * (1 - opacity) + heat_colours(share) * opacity).astype(np.uint8)
