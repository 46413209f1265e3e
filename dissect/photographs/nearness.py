"""How near drawn images come to a picture: in colours at several scales, and in the features of a network."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from dissect.quality.features import FeatureSpace

SCALES, SMALLEST_SIDE = 4, 8
FEATURES_WEIGHT = 0.5


class Nearness(NamedTuple):
    """How near one stage of a search came.

    Attributes:
        stage: Its name.
        colours: Mean difference of the colours, as a share of their range.
        features: Mean difference of the features, as a share of their mean size; None without features.
    """

    stage: str
    colours: float
    features: float | None


class Distance:
    """The distance of drawn images from one picture; gradients flow through it.

    Attributes:
        picture: The picture, in [-1, 1].
        space: Whose features are compared beside colours, or None.
    """

    def __init__(self, picture: Float[Tensor, "1 3 height width"], space: FeatureSpace | None):
        self.picture, self.space = picture, space
        with torch.no_grad():
            self._scales = _scales(picture)
            self._wanted = None if space is None else space.maps(picture)

    def __call__(self, drawn: Float[Tensor, "images 3 height width"]) -> Float[Tensor, " images"]:
        """The mean over scales of the mean difference of colours, and a half of the relative one of features."""
        pairs = zip(_scales(drawn), self._scales, strict=True)
        found = torch.stack([_apart(ours, theirs) for ours, theirs in pairs]).mean(dim=0)
        return found if self.space is None else found + FEATURES_WEIGHT * self._in_features(drawn)

    @torch.no_grad()
    def told(self, stage: str, drawn: Float[Tensor, "1 3 height width"]) -> Nearness:
        """What people are told of it."""
        features = None if self.space is None else float(self._in_features(drawn))
        return Nearness(stage, float(_apart(drawn, self.picture)) / 2, features)

    def _in_features(self, drawn: Tensor) -> Tensor:
        assert self.space is not None
        assert self._wanted is not None
        return _apart(self.space.maps(drawn), self._wanted) / self._wanted.abs().mean()


def _apart(ours: Tensor, theirs: Tensor) -> Tensor:
    return (ours - theirs).abs().flatten(1).mean(dim=1)


def _scales(images: Tensor) -> list[Tensor]:
    found = [images]
    while len(found) < SCALES and min(found[-1].shape[2:]) >= 2 * SMALLEST_SIDE:
        found.append(F.avg_pool2d(found[-1], 2))
    return found
