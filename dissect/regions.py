"""Where a concept stands in generated images: connected regions of a label map, as regions of a rule."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage
from torch import Tensor

from rewrite.generators.contract import Generator, batched
from rewrite.masks import Mask
from rewrite.rule import Latent, Region

Labeller = Callable[[Tensor], UInt8[np.ndarray, "images height width"]]


@dataclass(frozen=True)
class Thing:
    """One connected region that shows a concept.

    Attributes:
        region: The seed and the pixels.
        pixels: How many there are.
        neighbours: For each concept, what share of the pixels around the region it covers.
    """

    region: Region
    pixels: int
    neighbours: tuple[float, ...]


def things(
    generator: Generator,
    label: Labeller,
    concepts: Sequence[str],
    wanted: Iterable[str],
    seeds: Iterable[int],
    *,
    least: int = 12,
    inside: bool = True,
) -> list[Thing]:
    """Every connected region of some concepts in the images of some seeds.

    Args:
        generator: The generator.
        label: Images in [-1, 1] to label maps.
        concepts: The name of each label.
        wanted: The concepts to look for; regions of different ones that touch are one.
        seeds: The images to look at, in this order.
        least: Smaller regions, in pixels, are left out.
        inside: Whether regions that touch the border of the image are left out.
    """
    numbers = [list(concepts).index(concept) for concept in wanted]
    found = []
    for part in batched(seeds, 32):
        for seed, labels in zip(part, label(generator.sample(part)), strict=True):
            regions, count = ndimage.label(np.isin(labels, numbers))
            for number in range(1, count + 1):
                mask = regions == number
                cut_off = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
                if mask.sum() < least or (inside and cut_off):
                    continue
                ring = ndimage.binary_dilation(mask, iterations=2) & ~mask
                shares = np.bincount(labels[ring], minlength=len(concepts)) / ring.sum()
                region = Region(Latent(seed), Mask.from_array(mask))
                found.append(Thing(region, int(mask.sum()), tuple(float(share) for share in shares)))
    return found
