"""What is known of pictures with all units on."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Seen:
    """Pictures that a classifier was shown with all units on.

    Attributes:
        numbers: The pictures.
        truth: The number of the class that each is of.
        named: The number of the class that each is named.
        peaks: The greatest activation of each unit in each.
    """

    numbers: Sequence[int]
    truth: Int64[Tensor, " pictures"]
    named: Int64[Tensor, " pictures"]
    peaks: Float[Tensor, "pictures units"]

    def __repr__(self) -> str:
        return f"<Seen: {len(self.numbers)} pictures, {self.peaks.shape[1]} units>"
