"""The factor that brings what a modulated layer writes back to unit variance."""

from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-8


def demodulation_of(
    style: Float[Tensor, "images inputs"],
    weight: Float[Tensor, "outputs inputs *taps"],
    epsilon: float | Tensor = EPSILON,
) -> Float[Tensor, "images outputs"]:
    """d(s, W) = (Σ (W s)² + ε)^(-1/2), summed over inputs and taps (Karras et al. 2020, eq. 3).

    Args:
        style: The factor on each input.
        weight: The effective weight, in the same precision; its taps are one axis or two.
        epsilon: ε, one for all outputs or one for each image and output.
    """
    power = weight.square().sum(dim=tuple(range(2, weight.ndim)))
    return (style.square() @ power.T + epsilon).rsqrt()
