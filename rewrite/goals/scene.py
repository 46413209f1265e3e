"""The images of a rule, at its layer."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.latents import Latents
from rewrite.generators.layers import Layer
from rewrite.goals.keys import Keys
from rewrite.rules.masks import Mask, cover
from rewrite.rules.regions import Latent

LEAST_COVER = 0.05


class Scene:
    """The images of a rule, at its layer: what is read and what is written there."""

    def __init__(
        self,
        layer: Layer,
        images: dict[Latent, int],
        features: Tensor,
        values: Tensor,
        offsets: Tensor,
        styles: Tensor,
    ):
        self.layer, self.images, self.features = layer, images, features
        self.values, self.offsets, self.styles = values, offsets, styles

    @classmethod
    def of(cls, generator: Generator, layer: Layer, latents: Sequence[Latent], batch: int = 16) -> "Scene":
        order = list(dict.fromkeys(latents))
        features, values, offsets, styles = [], [], [], []
        with torch.no_grad():
            for i in range(0, len(order), batch):
                cut = generator.cut(layer.name, latents_of(generator, order[i : i + batch]))
                features.append(cut.features.cpu())
                values.append(written_values(generator, layer, cut).cpu().double())
                offsets.append(generator.offset(layer.name, cut).cpu().double().expand_as(values[-1]))
                styles.append(torch.zeros(len(cut.features), 0) if cut.style is None else cut.style.cpu())
        return cls(
            layer,
            {latent: i for i, latent in enumerate(order)},
            torch.cat(features),
            torch.cat(values),
            torch.cat(offsets),
            torch.cat(styles).double(),
        )

    def index(self, latent: Latent) -> int:
        return self.images[latent]

    def cells(self, mask: Mask) -> np.ndarray:
        """The cells of the written map that a mask covers at least a little."""
        return (cover(mask.array(), self.layer) > LEAST_COVER).numpy()

    def collect(self, parts: Sequence[tuple[int, np.ndarray]], shares: Sequence[Tensor] | None, total: float) -> Keys:
        """The keys of cells of images, with weights in proportion to `shares` that add up to `total`."""
        places = [(image, torch.from_numpy(np.flatnonzero(cells))) for image, cells in parts]
        # Only the keys that are asked for: all keys of many images take many times the memory of their features.
        keys = [self.layer.keys(self.features[image][None], flat[None])[0].double() for image, flat in places]
        values = [self.values[image].flatten(1).T[flat] for image, flat in places]
        offsets = [self.offsets[image].flatten(1).T[flat] for image, flat in places]
        images = [torch.full([len(flat)], image) for image, flat in places]
        empty = torch.zeros(0, dtype=torch.float64)
        weights = torch.cat([*(shares or [torch.ones(len(flat)).double() for _, flat in places]), empty])
        return Keys(
            keys=torch.cat([*keys, torch.zeros(0, self.layer.width, dtype=torch.float64)]),
            values=torch.cat([*values, torch.zeros(0, self.values.shape[1], dtype=torch.float64)]),
            offsets=torch.cat([*offsets, torch.zeros(0, self.values.shape[1], dtype=torch.float64)]),
            weights=weights * (total / weights.sum()) if len(weights) else weights,
            image=torch.cat([*images, torch.zeros(0, dtype=torch.int64)]),
            position=torch.cat([*(flat for _, flat in places), torch.zeros(0, dtype=torch.int64)]),
        )


def written_values(generator: Generator, layer: Layer, cut: Cut) -> Float[Tensor, "images outputs height width"]:
    """What the layer writes after demodulation, before blur, noise, bias and activation."""
    written = layer.apply(cut.features, generator.weight(layer.name))
    factor = generator.demodulation(layer.name, cut.style)
    return written if factor is None else written * factor[:, :, None, None]


def latents_of(generator: Generator, chosen: Sequence[Latent]) -> Latents:
    """The generator's latents for those of a rule.

    Raises:
        ValueError: A latent by value has another shape than the generator's.
    """
    for latent in chosen:
        if latent.z is not None and len(latent.z) != generator.z_dim:
            raise ValueError(f"latents of this generator have {generator.z_dim} numbers, got {len(latent.z)}")
    drawn = generator.latents(latent.seed for latent in chosen)
    rows = [z if latent.z is None else torch.tensor(latent.z).to(z) for z, latent in zip(drawn.z, chosen, strict=True)]
    latents = Latents(torch.stack(rows), drawn.seeds)
    if all(latent.w is None for latent in chosen):
        return latents
    return latents._replace(w=_styles(generator, latents, chosen))


def _styles(generator: Generator, latents: Latents, chosen: Sequence[Latent]) -> Float[Tensor, "images layers width"]:
    """The w of each image for each layer: given by value, or by its z."""
    layers, width = generator.styles_shape
    styles = generator.styles(latents).clone()
    for row, latent in zip(styles, chosen, strict=True):
        if latent.w is not None:
            w = torch.tensor(latent.w)
            if w.shape not in ((1, width), (layers, width)):
                fits = f"(1, {width}) or ({layers}, {width})"
                raise ValueError(f"w of this generator are of shape {fits}, got {tuple(w.shape)}")
            row.copy_(w)
    return styles
