"""Pictures of the generator as it is, each drawn once for all that asks for it."""

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.goals.scene import latents_of
from rewrite.rules.regions import Latent

KEPT = 64


class Unedited:
    """Pictures of a generator that does not change meanwhile; those that were asked for last are kept."""

    def __init__(self, generator: Generator, most: int = KEPT):
        self.generator, self.most = generator, most
        self._kept: dict[Latent, Tensor] = {}

    @torch.no_grad()
    def picture(self, latent: Latent) -> Float[Tensor, "3 height width"]:
        """What an image looks like, on the CPU; it may overshoot [-1, 1]."""
        found = self._kept.pop(latent, None)
        if found is None:
            found = self.generator.images(latents_of(self.generator, [latent]))[0].float().cpu()
        self._kept[latent] = found
        while len(self._kept) > self.most:
            del self._kept[next(iter(self._kept))]
        return found
