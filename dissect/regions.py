"""Where a concept stands in generated images: connected regions of a label map, as regions of a rule."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rewrite.generators.contract import Generator
from rewrite.goals.scene import latents_of
from rewrite.progress import stage_bar
from rewrite.reports.concepts import ConceptSource
from rewrite.rules.masks import Mask, regions_of
from rewrite.rules.regions import Latent, Region

BATCH = 32


@dataclass(frozen=True)
class Thing:
    """One connected region that shows a concept.

    Attributes:
        region: The image and the pixels.
        pixels: How many there are.
    """

    region: Region
    pixels: int


def things(
    generator: Generator,
    source: ConceptSource,
    wanted: Iterable[str],
    images: Iterable[int | Latent],
    *,
    least: int = 12,
    inside: bool = True,
    progress: bool = False,
) -> list[Thing]:
    """Every connected region of some concepts in some images.

    Args:
        generator: The generator.
        source: What names the pixels; its label maps have the size of the images.
        wanted: The concepts to look for; regions of different ones that touch are one.
        images: The images to look at, in this order, by their seeds or their latents.
        least: Smaller regions, in pixels, are left out.
        inside: Whether regions that touch the border of the image are left out.
        progress: Show a progress bar.

    Raises:
        LookupError: The source does not know one of the concepts.
    """
    numbers = [source.concepts.number(concept) for concept in wanted]
    order, found = [Latent(each) if isinstance(each, int) else each for each in images], []
    with stage_bar(len(order), "look", shown=progress) as bar:
        for part in (order[first : first + BATCH] for first in range(0, len(order), BATCH)):
            latents = latents_of(generator, part)
            labels = source.label(generator.sample(latents), latents.seeds).cpu().numpy()
            for latent, layers in zip(part, labels, strict=True):
                for mask in regions_of(np.any(np.isin(layers, numbers), axis=0)):
                    cut_off = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
                    if mask.sum() >= least and not (inside and cut_off):
                        found.append(Thing(Region(latent, Mask.from_array(mask)), int(mask.sum())))
            bar.update(len(part))
    return found
