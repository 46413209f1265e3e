"""Keys of some images at one layer: what a goal is stated over."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Keys:
    """Keys of some images at one layer, and what the unedited layer writes for them.

    Attributes:
        keys: One patch key a row, float64.
        values: What the layer writes for each (after demodulation, before noise, bias and activation), float64.
        weights: Weight of each key; all weights of a set add up to its weight in the rule.
        image: Which row of the goal's styles belongs to each key.
        offsets: Bias and noise that are added to each value before the activation, float64; zero where other steps
            (a blur) come first.
        position: Which cell of the written map each stands at, counted row by row.
    """

    keys: Float[Tensor, "n key"]
    values: Float[Tensor, "n outputs"]
    weights: Float[Tensor, " n"]
    image: Int[Tensor, " n"]
    offsets: Float[Tensor, "n outputs"]
    position: Int[Tensor, " n"]

    @classmethod
    def joined(cls, parts: Sequence["Keys"]) -> "Keys":
        """The keys of several sets, whose images are numbered together."""
        return cls(**{entry.name: torch.cat([getattr(part, entry.name) for part in parts]) for entry in fields(cls)})

    def where(self, chosen: Bool[Tensor, " n"]) -> "Keys":
        """Some of the keys."""
        return Keys(**{entry.name: getattr(self, entry.name)[chosen] for entry in fields(self)})

    def __len__(self) -> int:
        return len(self.keys)
