"""Levels of units: exact quantiles of a stream, of which the greatest values are kept and all others are counted.

A level depends on the order of the values alone: units that are increasing functions of one another get levels that
light the same pixels. Bins by size, of which an earlier version had the counts, lose a unit whose values lie close
together far from zero. Parts add up exactly, whatever the order and the batches.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Where fewer than this share of the pixels that were asked for pass a level, many greatest values are equal.
FAR_FEWER = 0.5


@dataclass(frozen=True)
class Greatest:
    """The greatest values of each row, in no order.

    Attributes:
        values: One row for each unit.
        keep: How many are kept of each row.
        seen: How many values each row has had.
    """

    values: Float[Tensor, "rows kept"]
    keep: int
    seen: int = 0

    @classmethod
    def empty(cls, rows: int, keep: int, device: torch.device | str = "cpu") -> "Greatest":
        """Before any value."""
        return cls(torch.zeros(rows, 0, device=device), keep)

    def seeing(self, values: Float[Tensor, "rows samples"]) -> "Greatest":
        """The same with more values.

        Raises:
            ValueError: A value is NaN or infinite.
        """
        if not torch.isfinite(values).all():
            raise ValueError("activations must be finite, got NaN or infinity: the network's weights are damaged")
        return self + Greatest(_greatest(values.float(), self.keep), self.keep, values.shape[1])

    def __add__(self, other: "Greatest") -> "Greatest":
        return Greatest(
            _greatest(torch.cat([self.values, other.values], dim=1), self.keep), self.keep, self.seen + other.seen
        )

    def level(self, tail: float) -> Float[Tensor, " rows"]:
        """For each row the lowest of its values above which at most this share of them lies.

        Raises:
            ValueError: The share is not between 0 and 1, no value was seen, or fewer are kept than it takes.
        """
        if not 0 < tail < 1:
            raise ValueError(f"a tail lies between 0 and 1, got {tail:g}")
        if not self.seen:
            raise ValueError("a level needs at least one value in each row, got none")
        above = above_level(tail, self.seen)
        if above >= self.values.shape[1]:
            raise ValueError(f"a tail of {tail:g} takes {above + 1} values of a row, {self.values.shape[1]} are kept")
        return self.values.kthvalue(self.values.shape[1] - above, dim=1).values

    def share_above(self, levels: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        """The share of each row's values above levels that `level` gave."""
        return (self.values > levels[:, None]).sum(dim=1) / self.seen

    def far_fewer(self, tail: float) -> Bool[Tensor, " rows"]:
        """Whether far fewer values lie above the level of each row than this share: the greatest are equal."""
        return self.share_above(self.level(tail)) < FAR_FEWER * above_level(tail, self.seen) / self.seen


def above_level(tail: float, seen: int) -> int:
    """How many of so many values lie above the level of a tail, where none are equal."""
    return math.floor(tail * seen)


def _greatest(values: Float[Tensor, "rows samples"], count: int) -> Float[Tensor, "rows kept"]:
    return values if values.shape[1] <= count else values.topk(count, dim=1, sorted=False).values
