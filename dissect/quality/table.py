"""Numbers measured of every image, row by row, so that parts can be made apart, merged, and taken up again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rewrite.shards.work import Work
from rewrite.storage.ledger import SHARD, Ledger, Tensors

KIND = "table"


@dataclass(frozen=True)
class Table:
    """What was measured of some images, in the order of their numbers.

    Attributes:
        numbers: The seed or number of each image.
        columns: Vectors of each image by what they are.
        identity: What was measured of what.
    """

    numbers: Int64[Tensor, " images"]
    columns: Mapping[str, Float[Tensor, "images width"]]
    identity: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, name: str) -> Float[np.ndarray, "images width"]:
        """One column, in float64."""
        return self.columns[name].double().numpy()

    def __add__(self, other: "Table") -> "Table":
        """Two parts as one.

        Raises:
            ValueError: They are not of the same things, or share images.
        """
        if (self.identity, set(self.columns)) != (other.identity, set(other.columns)):
            raise ValueError("parts of a table must be of one model and of the same columns")
        numbers = torch.cat([self.numbers, other.numbers])
        order = numbers.argsort(stable=True)
        if (numbers[order].diff() == 0).any():
            shared = numbers[order][:-1][numbers[order].diff() == 0][0]
            raise ValueError(f"parts of a table must not share images, both hold image {shared}")
        columns = {name: torch.cat([self.columns[name], other.columns[name]])[order] for name in self.columns}
        return Table(numbers[order], columns, self.identity)


def tabulate(
    numbers: Sequence[int],
    measure: Callable[[Sequence[int]], Mapping[str, Tensor]],
    identity: Mapping[str, Any],
    *,
    stage: str = KIND,
    state: Path | None = None,
    progress: bool = False,
) -> Table:
    """Measure images, shard by shard.

    Args:
        numbers: Which images, in ascending order.
        measure: From numbers of images to the vectors of each; an image's vectors depend on its number alone. A `Work`,
            so that workers may share it.
        identity: What is measured of what.
        stage: What a progress bar and the file call it.
        state: A file that keeps the table while it grows: a run that was ended goes on from there.
        progress: Show a progress bar.

    Raises:
        ValueError: `state` belongs to another run, or what was measured is not finite.
    """
    ledger = Ledger(state, identity, KIND, progress=progress)

    def here(some: Sequence[int]) -> dict[str, Tensor]:
        return _finite(measure(some), some)

    measured: Callable[[tuple[int, ...]], Tensors] = here
    if isinstance(measure, Work):
        measured = replace(measure, function=measured_by, given=(measure.function, *measure.given))
    columns = ledger.over(stage, numbers, measured, join=appended, batch=SHARD)
    return Table(torch.tensor(numbers), columns, ledger.identity)


def measured_by(subject: Any, some: Sequence[int], function: Callable[..., Tensors], *given: Any) -> dict[str, Tensor]:
    """The columns of some images, as a worker measures them."""
    return _finite(function(subject, some, *given), some)


def _finite(columns: Tensors, some: Sequence[int]) -> dict[str, Tensor]:
    """The columns of some images in float32, on the CPU.

    Raises:
        ValueError: A number is not finite.
    """
    found = {name: each.float().cpu() for name, each in columns.items()}
    for name, each in found.items():
        if not torch.isfinite(each).all():
            raise ValueError(f"{name} of images {some[0]} to {some[-1]} is not finite: weights are damaged")
    return found


def appended(ours: Tensors, theirs: Tensors) -> dict[str, Tensor]:
    """The columns of some images, and below them those of others."""
    return {name: torch.cat([each, theirs[name]]) for name, each in ours.items()}
