"""Heat-maps of where a rule would fire, fast enough to follow a brush: all but the marks is prepared once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from apps.editor.given import number_of
from apps.editor.model import Model
from rewrite import Region
from rewrite.generators.batches import batched
from rewrite.generators.layers import Layer
from rewrite.goals.scene import LEAST_COVER
from rewrite.reports.firing import ordinary_moment, ordinary_seeds, response, upsampled
from rewrite.reports.pictures import overlay
from rewrite.rules.masks import cover
from rewrite.solvers.algebra import Metric
from rewrite.solvers.directions import patch_rows, phase_metrics

# Images of large networks have more places each, and take long.
ORDINARY, ORDINARY_OF_LARGE = 32, 4


@dataclass(frozen=True)
class Heat:
    """The responses of a layer to marked regions, by the measure of `rewrite.reports.firing`.

    Attributes:
        model: The model.
        layer: The layer.
        metrics: The second moment of the layer's keys, phase by phase.
        ordinary: The layer's input for ordinary images, as many as are of use.
    """

    model: Model
    layer: Layer
    metrics: Sequence[Metric]
    ordinary: Float[Tensor, "images inputs rows columns"]

    @classmethod
    def of(cls, model: Model, layer: str) -> "Heat":
        """The heat of a layer whose memory is measured; prepared once for all sessions."""
        return model.drawer.prepared(("heat", layer), lambda: cls._prepared(model, layer))

    @classmethod
    def _prepared(cls, model: Model, name: str) -> "Heat":
        layer = model.generator.layer(name)
        metrics, drawer = phase_metrics(ordinary_moment(model.memory(name), layer), layer), model.drawer
        seeds = ordinary_seeds(ORDINARY if drawer.small else ORDINARY_OF_LARGE, ())
        ordinary = [drawer.run(name, part).features.cpu() for part in batched(seeds, drawer.together)]
        return cls(model, layer, metrics, torch.cat(ordinary))

    def maps(self, places: Sequence[Region], seeds: Sequence[int]) -> Float[Tensor, "images height width"]:
        """The quantile of each image's response among the responses in ordinary images, 0 to 1.

        Args:
            places: The regions marked as paste or context.
            seeds: The images.

        Raises:
            ValueError: The marks cover no cell of the layer.
        """
        keys = torch.cat([self._keys(place) for place in places])
        if not len(keys):
            raise ValueError("the marks cover no cell of this layer: mark more, or take a layer of a finer grid")
        rows = patch_rows(keys, self.metrics, self.layer, 1)
        reference = response(self.layer, rows, self.ordinary).flatten().sort().values
        found = response(self.layer, rows, self.model.drawer.features(self.layer.name, seeds))
        quantiles = torch.searchsorted(reference, found.contiguous()).to(found) / len(reference)
        return upsampled(quantiles, self.layer, self.model.drawer.side)

    def pictures(self, places: Sequence[Region], seeds: Sequence[int]) -> list[Image.Image]:
        """The maps laid over the images."""
        images = self.model.drawer.at_hand(seeds)
        return [overlay(image, heat) for image, heat in zip(images, self.maps(places, seeds), strict=True)]

    def _keys(self, place: Region) -> Float[Tensor, "n key"]:
        cells = (cover(place.mask.array(), self.layer) > LEAST_COVER).numpy()
        features = self.model.drawer.features(self.layer.name, (number_of(place.latent),))
        return self.layer.keys(features, torch.from_numpy(np.flatnonzero(cells))[None])[0].double()
