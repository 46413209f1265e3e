"""How a picture is made what a network reads: its size, and how its colours are scaled."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET_SIDE = 224


@dataclass(frozen=True)
class Preparation:
    """How a classifier wants to be shown images; that of ImageNet if nothing else is said.

    Attributes:
        size: Height and width in pixels.
        mean, deviation: What colours from 0 to 1 are shifted and divided by.
    """

    size: tuple[int, int] = (IMAGENET_SIDE, IMAGENET_SIDE)
    mean: tuple[float, ...] = MEAN
    deviation: tuple[float, ...] = DEVIATION

    def __call__(self, images: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images 3 rows columns"]:
        """Images in [-1, 1] of any size as the network reads them; gradients flow through it."""
        if tuple(images.shape[-2:]) != self.size:
            images = F.interpolate(images, self.size, mode="bilinear", antialias=True, align_corners=False)
        mean, deviation = (images.new_tensor(each)[:, None, None] for each in (self.mean, self.deviation))
        return ((images + 1) / 2 - mean) / deviation


def as_they_are(size: tuple[int, int]) -> Preparation:
    """The preparation of a network that reads images in [-1, 1]."""
    return Preparation(size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
