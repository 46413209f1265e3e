"""Counting units against concepts plainly, in floats and in the manner of `dissect`: a reference."""

import torch
from torch import Tensor

from dissect.units.upsampling import Upsampling


def plain_counts(
    maps: Tensor, levels: Tensor, labels: Tensor, concepts: int, upsampling: Upsampling
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of units, of labels, and shared, for one image: upsample, compare, loop over the labels."""
    active = (upsampling.everywhere(maps) > levels[:, None, None]).flatten(1).float()
    both = torch.zeros(len(levels), concepts)
    shown = torch.zeros(concepts)
    for concept in range(concepts):
        mask = labels.flatten() == concept
        both[:, concept] = active[:, mask].sum(dim=1)
        shown[concept] = mask.sum()
    # Floats count exactly up to 2²⁴, which one image does not pass.
    return active.sum(dim=1).long(), shown.long(), both.long()


def blobs(images: int, side: int, labels: int, draws: torch.Generator) -> Tensor:
    """Label maps of some forty coherent regions each, as a segmenter gives them."""
    coarse = torch.randint(0, labels, (images, 1, 7, 6), generator=draws).float()
    return torch.nn.functional.interpolate(coarse, (side, side)).short()
