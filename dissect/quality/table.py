"""Numbers measured of every image, row by row, so that parts can be made apart, merged, and taken up again."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from tqdm import tqdm

from dissect.units.dissection import SECONDS_BETWEEN_SAVES, shards
from rewrite.storage import files

KIND = "table"

Measure = Callable[[Sequence[int]], Mapping[str, Tensor]]


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

    def save(self, path: str | Path) -> None:
        """Write the table as safetensors."""
        columns = {f"column.{name}": column for name, column in self.columns.items()}
        files.save_tensors(path, {"numbers": self.numbers, **columns}, KIND, {"identity": dict(self.identity)})

    @classmethod
    def load(cls, path: str | Path) -> "Table":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is damaged, or holds something else.
        """
        tensors, about = files.load_tensors(path, KIND)
        start = "column."
        columns = {name.removeprefix(start): each for name, each in tensors.items() if name.startswith(start)}
        lengths = {len(each) for each in tensors.values()}
        if "numbers" not in tensors or len(lengths) != 1 or any(each.ndim != 2 for each in columns.values()):
            raise ValueError(f"{path} is a damaged table: its columns do not fit together")
        return cls(tensors["numbers"], columns, about.get("identity", {}))


def tabulate(
    numbers: Sequence[int],
    measure: Measure,
    identity: Mapping[str, Any],
    *,
    state: Path | None = None,
    progress: str = "",
) -> Table:
    """Measure images, shard by shard.

    Args:
        numbers: Which images, in ascending order.
        measure: From numbers of images to the vectors of each; an image's vectors hang on its number alone.
        identity: What is measured of what.
        state: A file that keeps the table while it grows: a run that was ended goes on from there.
        progress: What a progress bar says; none is shown if left out.

    Raises:
        ValueError: `state` belongs to another run, or what was measured is not finite.
    """
    # As a file gives it back.
    identity = json.loads(json.dumps(identity))
    table = _begun(state, identity, numbers)
    done = 0 if table is None else len(table)
    saved = time.monotonic()
    with tqdm(total=len(numbers), initial=done, desc=progress, unit="img", delay=1, disable=not progress) as bar:
        for shard in shards(numbers[done:]):
            columns = {name: each.float().cpu() for name, each in measure(shard).items()}
            for name, each in columns.items():
                if not torch.isfinite(each).all():
                    raise ValueError(f"{name} of images {shard[0]} to {shard[-1]} is not finite: weights are damaged")
            part = Table(torch.tensor(shard), columns, identity)
            table = part if table is None else table + part
            bar.update(len(shard))
            if state is not None and time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                table.save(state)
                saved = time.monotonic()
    if state is not None and done < len(numbers):
        table.save(state)
    return table


def _begun(state: Path | None, identity: Mapping[str, Any], numbers: Sequence[int]) -> Table | None:
    if state is None or not state.exists():
        return None
    table = Table.load(state)
    if table.identity != identity or table.numbers.tolist() != list(numbers[: len(table)]):
        raise ValueError(f"{state} belongs to another run: name another folder, or delete it")
    return table
