"""A run of a generator that stopped before one layer."""

from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor


class Cut(NamedTuple):
    """A run that stopped just before the weight of one layer is used.

    Attributes:
        state: What the generator needs to go on; opaque to everyone else.
        features: The map that the layer reads. Its patches are the keys.
        style: The modulation inside `features` (StyleGAN2), or None for a plain layer.
    """

    state: Any
    features: Float[Tensor, "images inputs height width"]
    style: Float[Tensor, "images inputs"] | None = None
