"""Work for workers that says who does it, takes its time, and gives sums that depend on their order."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.shards.work import Work
from rewrite.storage.ledger import Ledger


def slowly(generator: Generator, numbers: Sequence[int], log: Path, seconds: float) -> dict[str, Tensor]:
    """The sum of some images; a line of the log says which process began with which number.

    It takes its time until there is nothing to wait for any more.
    """
    with log.open("a") as file:
        file.write(f"{os.getpid()} {numbers[0]}\n")
    until = time.monotonic() + seconds
    while time.monotonic() < until and not over(log).exists():
        time.sleep(0.05)
    return {"sum": generator.sample(numbers).double().square().sum()}


def over(log: Path) -> Path:
    """The file that says so."""
    return log.with_suffix(".over")


def refusing(generator: Generator, numbers: Sequence[int]) -> dict[str, Tensor]:
    raise ValueError(f"the image {numbers[0]} is not wanted")


def begun(log: Path) -> list[tuple[int, int]]:
    """The process and the first number of each shard that was begun."""
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return [(int(process), int(number)) for process, number in map(str.split, lines)]


def summed(generator: Generator, images: int, log: Path, seconds: float, state: Path | None = None) -> bytes:
    """The sum over images, four at a time, as bytes."""
    work = Work(slowly, generator, generator, (log, seconds))
    return Ledger(state).over("sum", range(images), work, batch=4)["sum"].numpy().tobytes()
