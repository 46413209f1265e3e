"""Semantic segmentation by any network: what gives each pixel a number for each concept."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int16
from torch import Tensor, nn
from torch.nn import functional as F

from dissect.sources.contract import DifferentiableSource, checked
from rewrite.generators.fingerprint import hash_of
from rewrite.reports.concepts import Concepts

# Logits that are upsampled at once.
LOGITS_AT_ONCE = 2**26
IMAGES_AT_ONCE = 8


class NetworkSource(DifferentiableSource):
    """A network that gives a number for each concept and pixel, of which the greatest names the pixel.

    Args:
        network: From images (n, 3, h, w) to logits or shares (n, concepts, rows, columns). It is put into evaluation
            mode.
        concepts: What its channels stand for.
        size: Height and width to which images are resized for it; as they are if left out.
        prepare: From images in [-1, 1] to what it reads, such as `lambda images: images / 2 + 0.5`.
    """

    def __init__(
        self,
        network: nn.Module,
        concepts: Concepts,
        size: tuple[int, int] | None = None,
        prepare: Callable[[Tensor], Tensor] | None = None,
    ):
        self.network, self.concepts, self.size = network.eval(), concepts, size
        self.prepare = prepare or (lambda images: images)
        self.identity = f"{type(network).__name__} {hash_of(network.state_dict())} {size} {told_apart(self.prepare)}"

    @torch.no_grad()
    def label(self, images: Tensor, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        found = [labels for part in images.split(IMAGES_AT_ONCE) for labels in self._labels(part)]
        return checked(torch.stack(found), len(images), self.concepts)

    def logits(self, images: Tensor) -> Float[Tensor, "images concepts height width"]:
        return F.interpolate(self._scores(images), images.shape[2:], mode="bilinear", align_corners=False)

    def _labels(self, images: Tensor) -> list[Tensor]:
        size = (int(images.shape[2]), int(images.shape[3]))
        return [most_likely(each, size) for each in self._scores(images)]

    def _scores(self, images: Tensor) -> Float[Tensor, "images concepts rows columns"]:
        seen = images.to(next(self.network.parameters(), images))
        if self.size is not None:
            seen = F.interpolate(seen, self.size, mode="bilinear", antialias=True, align_corners=False).clamp(-1, 1)
        logits = self.network(self.prepare(seen).to(next(self.network.parameters(), seen)))
        if logits.ndim != 4 or logits.shape[:2] != (len(images), len(self.concepts)):
            raise ValueError(
                f"a network that names pixels gives ({len(images)}, {len(self.concepts)}, rows, columns) for "
                f"{len(images)} images and {len(self.concepts)} concepts, got {tuple(logits.shape)}"
            )
        return logits


def told_apart(prepare: Callable[[Tensor], Tensor]) -> str:
    """What tells one preparation of images from another: a hash of what it makes of a ramp of colours."""
    ramp = torch.linspace(-1, 1, 3 * 8 * 8).reshape(1, 3, 8, 8)
    return hash_of({"ramp": prepare(ramp)})[:8]


def most_likely(logits: Float[Tensor, "concepts rows columns"], size: tuple[int, int]) -> Int16[Tensor, "height width"]:
    """The concept with the greatest logit at each pixel of an image, after bilinear upsampling to its size.

    Some concepts are upsampled at a time, so that hundreds of them at a large size fit into memory.
    """
    at_once = max(1, LOGITS_AT_ONCE // (size[0] * size[1]))
    best = torch.full(size, -torch.inf, device=logits.device)
    found = torch.zeros(size, dtype=torch.int16, device=logits.device)
    for i, part in enumerate(logits.split(at_once)):
        values, numbers = F.interpolate(part[None], size=size, mode="bilinear", align_corners=False)[0].max(dim=0)
        better = values > best
        best[better], found[better] = values[better], (numbers[better] + i * at_once).short()
    return found
