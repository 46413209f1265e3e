"""How much each place of an image looks like the marked ones: one mixture of a layer's units, in closed form.

The mixture is to give 1 under the marks, and 0 beside them and in ordinary images: ridge regression, with the three
kinds of places weighed alike. The places beside the marks say what the marked ones are not: on the built-in generator
this finds further places by far better than the direction of a rule's context (Bau et al. 2020, eq. 12), which knows
ordinary images alone. `benchmarks/proposals.py` compares them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation
from torch import Tensor

from rewrite.generators.batches import in_batches
from rewrite.generators.contract import Generator
from rewrite.generators.latents import Latents
from rewrite.generators.layers import Layer
from rewrite.goals.scene import latents_of
from rewrite.reports.firing import at_pixels
from rewrite.rules.masks import cover_of
from rewrite.rules.regions import Latent

# A share of each unit's own power in ordinary images.
RIDGE = 0.2
# A cell is an example of a mark if it is covered by at least this share of what the best covered one is.
LEAST_COVER = 0.5
BATCH = 16


@dataclass(frozen=True)
class Examples:
    """What a mixture is fitted to: products of the units' outputs, to which a constant of 1 is added.

    Attributes:
        generator: The generator.
        layer: The layer whose units are mixed.
        marked, beside: Sums of u uᵀ over the cells under the marks, and away from them, of each marked image. The last
            row of one is the sum of u, and the last number there how many cells there are.
        ordinary: The same sum over all cells of ordinary images.
    """

    generator: Generator
    layer: Layer
    marked: Float[Tensor, "images units units"]
    beside: Float[Tensor, "images units units"]
    ordinary: Float[Tensor, "units units"]

    @classmethod
    def of(
        cls,
        generator: Generator,
        layer: str,
        marks: Mapping[Latent, Bool[np.ndarray, "height width"]],
        ordinary: Iterable[int],
    ) -> "Examples":
        """Run the generator on the marked images, and on the seeds of ordinary ones."""
        marked, beside = [], []
        for latent, mask in marks.items():
            units = units_of(generator, layer, latents_of(generator, [latent]))
            shares = cover_of(mask, (units.shape[2], units.shape[3]), generator.layer(layer).margin).numpy()
            away = np.logical_not(binary_dilation(shares > 0, np.ones((3, 3))))
            marked.append(_products(units, shares >= LEAST_COVER * shares.max()))
            beside.append(_products(units, away))
        usual = [
            _products(units, np.ones(units.shape[2:], dtype=bool))
            for _, units in in_batches(
                ordinary, BATCH, lambda part: units_of(generator, layer, generator.latents(part))
            )
        ]
        described = generator.layer(layer)
        return cls(generator, described, torch.stack(marked), torch.stack(beside), torch.stack(usual).sum(dim=0))

    def mixture(self, without: int | None = None) -> Float[Tensor, " units"]:
        """The mixture that the examples ask for, or all of them but those of one image; its last number is added."""
        kept = [image for image in range(len(self.marked)) if image != without]
        marked, beside = _mean(self.marked[kept].sum(dim=0)), _mean(self.beside[kept].sum(dim=0))
        usual = _mean(self.ordinary)
        power = marked + beside + usual + RIDGE * torch.diag(usual.diagonal().clamp(min=1e-12))
        return torch.linalg.solve(power, marked[-1])

    def likeness(
        self, latents: Latents, mixture: Float[Tensor, " units"], size: tuple[int, int]
    ) -> Float[np.ndarray, "images height width"]:
        """How much each place of some images looks like the marked ones: about 1 if it does, about 0 if not.

        Args:
            latents: The images.
            mixture: Units and constant.
            size: Height and width of the maps; each covers the whole image.
        """
        units = units_of(self.generator, self.layer.name, latents)
        found = torch.einsum("nuhw,u->nhw", units, mixture[:-1].float()) + mixture[-1].float()
        return at_pixels(found, self.layer.margin, size).numpy()


@torch.no_grad()
def units_of(generator: Generator, layer: str, latents: Latents) -> Float[Tensor, "images units height width"]:
    """What a layer gives after all that belongs to it, on the CPU."""
    return generator.output(layer, generator.cut(layer, latents)).float().cpu()


def _products(
    units: Float[Tensor, "images units height width"], cells: Bool[np.ndarray, "height width"]
) -> Float[Tensor, "more more"]:
    chosen = units.flatten(2)[:, :, torch.from_numpy(np.flatnonzero(cells))].transpose(1, 2).flatten(0, 1).double()
    with_one = torch.cat([chosen, torch.ones(len(chosen), 1, dtype=torch.float64)], dim=1)
    return with_one.T @ with_one


def _mean(products: Float[Tensor, "units units"]) -> Float[Tensor, "units units"]:
    return products / products[-1, -1].clamp(min=1)
