"""The images that drive a unit most, with the region above its level lit and the rest dimmed."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from dissect.units.counting import BATCH
from dissect.units.dissection import Dissection
from dissect.units.probe import Probe
from dissect.units.upsampling import upsampling
from rewrite.generators.batches import in_batches
from rewrite.progress import stage_bar
from rewrite.reports.pictures import pixels

SIDE = 72
SHOWN = 5
SPACE = 2
DIMMED = 0.3
BORDER = (255, 214, 64)


def unit_strips(
    probe: Probe,
    run: Mapping[str, Dissection],
    *,
    shown: int = SHOWN,
    side: int = SIDE,
    progress: bool = False,
    on_progress: Callable[[float], object] | None = None,
) -> dict[str, list[Image.Image]]:
    """For every view, one strip of lit images for each unit. The images are drawn once more for it.

    Args:
        probe: What was dissected.
        run: What was found.
        shown: Images in a strip.
        side: The longer side of each image in pixels.
        progress: Show a progress bar.
        on_progress: Called again and again with the share of the images that is drawn; may raise to end it.
    """
    places: dict[int, list[tuple[str, int, int]]] = {}
    for view, one in run.items():
        for unit, numbers in enumerate(one.tops.numbers[:, :shown].tolist()):
            for position, number in enumerate(numbers):
                if number >= 0:
                    places.setdefault(number, []).append((view, unit, position))
    strips: dict[str, list[Image.Image]] = {}
    with stage_bar(len(places), "pictures", shown=progress) as bar:
        for part, (activations, images) in in_batches(sorted(places), BATCH, probe.draw):
            small = _fitted(images, side)
            height, width = small.shape[1:3]
            strips = strips or {
                view: [Image.new("RGB", (shown * (width + SPACE) - SPACE, height), "white") for _ in one.levels]
                for view, one in run.items()
            }
            for row, number in enumerate(part):
                for view, unit, position in places[number]:
                    level = run[view].levels[unit].item()
                    lit = lit_region(activations[view][row, unit], level, (height, width))
                    tile = Image.fromarray(lit_picture(small[row], lit))
                    strips[view][unit].paste(tile, (position * (width + SPACE), 0))
            bar.update(len(part))
            if on_progress is not None:
                on_progress(bar.n / len(places))
    return strips


def lit_region(map_: Tensor, level: float, size: Sequence[int]) -> Bool[np.ndarray, "height width"]:
    """Where one unit passes its level, in an image of some size."""
    enlarged = upsampling(tuple(map_.shape), tuple(size), map_.device).everywhere(map_[None, None])[0, 0]
    return (enlarged > level).cpu().numpy()


def lit_picture(
    picture: UInt8[np.ndarray, "height width 3"], lit: Bool[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """A picture with a region as it is, a line around that, and the rest dimmed."""
    found = np.where(lit[..., None], picture, picture * DIMMED).astype(np.uint8)
    found[ndimage.binary_dilation(lit) & ~lit] = BORDER
    return found


def _fitted(images: Tensor, side: int) -> UInt8[np.ndarray, "images height width 3"]:
    """Images whose longer side is `side`."""
    height, width = images.shape[-2:]
    scale = side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return pixels(F.interpolate(images.float(), size, mode="bilinear", antialias=True, align_corners=False))
