"""A second moment by its largest directions: what a solver needs of it where its own weight is small.

With D the energy that a drift is weighed by, C is nearly τ D + Σ (λᵢ - τ) kᵢ kᵢᵀ, where kᵢ = D^(1/2) uᵢ and uᵢ, λᵢ are
the largest eigenvectors and eigenvalues of D^(-1/2) C D^(-1/2), and τ is the mean of the others. They are found by
subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4) in a few products with C, where a factor of it
takes d³/3 operations.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

DIRECTIONS, SPARE, ROUNDS = 64, 16, 2


@dataclass(frozen=True)
class Spectrum:
    """The largest directions of a second moment.

    Attributes:
        scale: D, the weight of each entry of a key.
        keys: kᵢ, one a row.
        excess: λᵢ - τ of each.
        tail: τ, which every other direction has on average.
    """

    scale: Float[Tensor, " key"]
    keys: Float[Tensor, "directions key"]
    excess: Float[Tensor, " directions"]
    tail: float

    @classmethod
    def of(cls, moment: Float[Tensor, "key key"], scale: Float[Tensor, " key"]) -> "Spectrum":
        """Find the largest directions of a second moment; the same on every call.

        Args:
            moment: C; single precision is enough.
            scale: D, above 0, so that it can be divided by.
        """
        root, width = scale.sqrt()[:, None], min(DIRECTIONS + SPARE, len(scale))
        draws = torch.Generator().manual_seed(0)
        basis = torch.randn(len(scale), width, generator=draws, dtype=scale.dtype).to(scale.device)
        for _ in range(ROUNDS):
            basis = torch.linalg.qr(_whitened(moment, root, basis)).Q
        reached = _whitened(moment, root, basis)
        values, turned = torch.linalg.eigh(basis.T @ reached)
        kept = slice(-min(DIRECTIONS, width), None)
        largest = values[kept].clamp(min=0)
        rest = (moment.diagonal() / scale).sum() - largest.sum()
        tail = max(0.0, float(rest) / max(1, len(scale) - len(largest)))
        return cls(scale, (root * (basis @ turned[:, kept])).T, (largest - tail).clamp(min=0), tail)

    @property
    def least(self) -> float:
        """The smallest λᵢ - τ: no other direction has a price much farther from τ, in units of D."""
        return float(self.excess.min())

    def through(
        self, rows: Float[Tensor, "n key"], reached: Float[Tensor, "n directions"] | None = None
    ) -> Float[Tensor, "n key"]:
        """Rows times the second moment.

        Args:
            rows: The rows.
            reached: Each of them times the keys of the largest directions, where that is known.
        """
        reached = rows @ self.keys.T if reached is None else reached
        return torch.addmm(self.tail * self.scale * rows, reached * self.excess, self.keys)


def _whitened(moment: Tensor, root: Tensor, basis: Tensor) -> Tensor:
    """D^(-1/2) C D^(-1/2) times some columns."""
    return (moment @ (basis / root).to(moment)).to(basis) / root
