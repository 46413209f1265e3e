"""Quantiles of a stream in bounded memory: counts over bins whose width is a fixed share of the value.

Source: Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
VLDB 2019. The bins here are the leading bits of a float32, so that the edges are floats and finding a bin is a shift.
Counts add up exactly, whatever the order, the batches or the number of parts: a sketch of samples that narrow by chance
(KLL) could not be merged to the bit.

By hand, because the package `ddsketch` takes one value at a time into one sketch: here a tensor holds the counts of
every unit, and takes a batch of maps at once.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

# Leading bits of the mantissa that are kept: a level is at most this share of itself too high.
BITS = 7
RELATIVE_ERROR = 2.0**-BITS
# Numbers smaller than this are taken as zero; it is also the absolute error near zero.
SMALLEST = 2.0**-20
# Numbers of this size and above share one bin, and no level lies among them.
LARGEST = 2.0**20

_SHIFT = 23 - BITS
_MANTISSA_BITS, _BIAS = 23, 127
_FIRST = (_BIAS - 20) << BITS
_TOP = 40 << BITS
BINS = 2 * _TOP + 3


@dataclass(frozen=True)
class QuantileSketch:
    """How many values of each row fell into each bin.

    Attributes:
        counts: One row for each unit; the bins ascend from the most negative values to the most positive.
    """

    counts: Int64[Tensor, "rows bins"]

    @classmethod
    def empty(cls, rows: int, device: torch.device | str = "cpu") -> "QuantileSketch":
        """A sketch that has seen nothing."""
        return cls(torch.zeros(rows, BINS, dtype=torch.int64, device=device))

    def seeing(self, values: Float[Tensor, "rows samples"]) -> "QuantileSketch":
        """This sketch with more values.

        Raises:
            ValueError: A value is NaN or infinite.
        """
        if not torch.isfinite(values).all():
            raise ValueError("activations must be finite, got NaN or infinity: the network's weights are damaged")
        rows = torch.arange(len(values), device=values.device)[:, None] * BINS
        found = torch.bincount((bins_of(values) + rows).reshape(-1), minlength=self.counts.numel())
        return replace(self, counts=self.counts + found.reshape(self.counts.shape))

    def __add__(self, other: "QuantileSketch") -> "QuantileSketch":
        if self.counts.shape != other.counts.shape:
            raise ValueError(f"sketches of {len(self.counts)} and {len(other.counts)} rows cannot be added")
        return QuantileSketch(self.counts + other.counts)

    def level(self, tail: float) -> Float[Tensor, " rows"]:
        """For each row the lowest level above which at most this share of its values lies.

        It is at least the exact quantile, and above it by at most `RELATIVE_ERROR` of that (or by `SMALLEST`).
        Infinity where even the greatest values are too many, or lie at `LARGEST` or above.

        Raises:
            ValueError: The share is not between 0 and 1, or no value was seen.
        """
        if not 0 < tail < 1:
            raise ValueError(f"a tail lies between 0 and 1, got {tail:g}")
        total = self.counts.sum(dim=1)
        if not total.all():
            raise ValueError("a level needs at least one value in each row, got none")
        above = total[:, None] - self.counts.cumsum(dim=1)
        # The first bin with few enough values above it. Both sides are whole numbers, up to the product with `tail`.
        first = (above.double() > tail * total[:, None].double()).sum(dim=1)
        return upper_limits(first)

    def share_above(self, levels: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        """The share of each row's values above levels that `level` gave: exact, as those are edges of bins."""
        number = bins_of(levels.nan_to_num(posinf=LARGEST)[:, None])
        above = torch.arange(BINS, device=levels.device) > number
        return ((self.counts * above).sum(dim=1) / self.counts.sum(dim=1)).float()


def bins_of(values: Float[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """The number of the bin of each value."""
    raw = values.float().contiguous().view(torch.int32)
    size = ((raw & 0x7FFFFFFF) >> _SHIFT).sub_(_FIRST - 1).clamp_(0, _TOP + 1)
    return (torch.where(raw < 0, -size, size) + (_TOP + 1)).long()


def upper_limits(bins: Int64[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The greatest float of each bin: exactly the values of later bins are greater. Infinity for the last bin."""
    code = bins - (_TOP + 1)
    # Bins of positive numbers begin at their lower edge, so the greatest float lies one bit below the next edge.
    size = torch.where(code >= 0, code, -code - 1).clamp(max=_TOP)
    edge = (size + _FIRST) << _SHIFT
    limit = torch.where(code >= 0, edge - 1, edge).int().contiguous().view(torch.float32)
    # A negative bin ends at its edge nearest to zero, which belongs to it.
    limit = torch.where(code >= 0, limit, -limit)
    return torch.where(code > _TOP, torch.full_like(limit, torch.inf), limit)
