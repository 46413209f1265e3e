"""What a generator draws images from."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Latents(NamedTuple):
    """Inputs of a generator, one row for each image, and the seeds that its noise depends on.

    Attributes:
        z: The latents.
        seeds: The seed of each image's noise.
        w: Of StyleGANs, w in place of z: one for all layers of an image, or one for each (W+).
    """

    z: Float[Tensor, "images size"]
    seeds: tuple[int, ...]
    w: Float[Tensor, "images layers width"] | None = None

    def __repr__(self) -> str:
        kind = "" if self.w is None else ", w" if self.w.shape[1] == 1 else ", w+"
        return f"<Latents: images={len(self.seeds)}, numbers={self.z.shape[1]}{kind}>"
