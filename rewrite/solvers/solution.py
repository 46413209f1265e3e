"""What a solver finds: a change of a layer, and what it does to the numbers that it was solved for."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Solution:
    """A change of a layer's matrix, and what it does to the numbers that it was solved for.

    Attributes:
        change: Δ, one row for each output.
        objective: The true objective after each accepted step; the first is that of no change.
        residual: Share of the wanted change that is missing, ‖v* - v‖ / ‖v* - v₀‖ over the wanted keys.
        damage: Expected relative change at ordinary keys, E‖v - v₀‖² / E‖v₀‖².
        drift: Mean ratio of the demodulation to what it was.
        interference: Relative change at the hard negatives and at the protected keys, ‖v - v₀‖ / ‖v₀‖.
    """

    change: Float[Tensor, "outputs key"]
    objective: tuple[float, ...]
    residual: float
    damage: float
    drift: float
    interference: dict[str, float]

    def forecast(self) -> dict[str, Any]:
        """What a patch says of it, as JSON holds it."""
        return {
            "residual": self.residual,
            "damage": self.damage,
            "drift": self.drift,
            "interference": self.interference,
            "objective": list(self.objective),
        }
