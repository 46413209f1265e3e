"""Keys of a goal, with what the unedited layer writes for them."""

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Bool, Float
from torch import Tensor

from rewrite.goals.keys import Keys


@dataclass(frozen=True)
class Mapped:
    """Keys of a goal, and what the unedited layer writes for them.

    Attributes:
        keys: The keys.
        written: What the layer writes for each, before demodulation.
    """

    keys: Keys
    written: Float[Tensor, "n outputs"]

    @cached_property
    def single(self) -> Float[Tensor, "n key"]:
        """The keys in single precision, in which they were read."""
        return self.keys.keys.float()

    def where(self, chosen: Bool[Tensor, " n"]) -> "Mapped":
        """Some of the keys."""
        return Mapped(self.keys.where(chosen), self.written[chosen])
