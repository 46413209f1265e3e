"""How far a change that is made for one key is felt at others."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.solvers import algebra


@dataclass(frozen=True)
class Kernel:
    """Keys, and how far a change that is made for one of them is felt at each other.

    Attributes:
        keys: K D⁻¹.
        gram: K D⁻¹ Kᵀ.
    """

    keys: Float[Tensor, "n columns"]
    gram: Float[Tensor, "n n"]

    @classmethod
    def of(
        cls, keys: Float[Tensor, "n columns"], scale: Float[Tensor, " columns"], last: "Kernel | None" = None
    ) -> "Kernel":
        """The kernel of some keys in the metric D; the last one, if that is of the same keys in the same metric."""
        scaled = (keys / scale).float()
        if last is not None and torch.equal(scaled, last.keys):
            return last
        return cls(scaled, algebra.squared(keys / scale.sqrt()))

    def sum(self, weights: Float[Tensor, "n outputs"]) -> Float[Tensor, "outputs columns"]:
        """A sum of keys times D⁻¹; in single precision, in which they were read, and in which a patch is kept."""
        return (weights.T.float() @ self.keys).double()
