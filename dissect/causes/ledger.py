"""Sums over numbered images, kept in a file while they grow, so that a run can stop anywhere and go on."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from rewrite.generators.contract import batched
from rewrite.storage import files

BATCH = 16
SECONDS_BETWEEN_SAVES = 10.0
KIND = "effects"


class Ledger:
    """The sums of several stages of one run.

    Args:
        path: The file; without one, nothing is kept.
        identity: What tells this run from others; a file of another run is refused.
        progress: Show progress bars.

    Raises:
        ValueError: The file is damaged, or belongs to another run.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any], *, progress: bool = False):
        self.path, self.progress = path, progress
        self.identity = json.loads(json.dumps(identity))
        self._sums: dict[str, dict[str, Tensor]] = {}
        self._done: dict[str, int] = {}
        if path is not None and path.exists():
            self._load(path)

    def over(
        self,
        stage: str,
        numbers: Sequence[int],
        part: Callable[[tuple[int, ...]], Mapping[str, Tensor]],
        *,
        batch: int = BATCH,
    ) -> dict[str, Tensor]:
        """What `part` gives for some images at a time, summed over all of them.

        Args:
            stage: A name for these sums.
            numbers: The images.
            part: Their numbers to sums by name.
            batch: How many are taken at a time.
        """
        done, saved = self._done.get(stage, 0), time.monotonic()
        with tqdm(total=len(numbers), initial=done, desc=stage, unit="img", delay=1, disable=not self.progress) as bar:
            for some in batched(numbers[done:], batch):
                found, old = part(some), self._sums.get(stage, {})
                self._sums[stage] = {name: old[name] + each if old else each for name, each in found.items()}
                self._done[stage] = self._done.get(stage, 0) + len(some)
                bar.update(len(some))
                if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                    self.save()
                    saved = time.monotonic()
        if done < len(numbers):
            self.save()
        return self._sums[stage]

    def once(self, stage: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """What `make` gives, made once."""
        if stage not in self._done:
            self._sums[stage], self._done[stage] = dict(make()), 1
            self.save()
        return self._sums[stage]

    def save(self) -> None:
        """Write what there is, whole or not at all."""
        if self.path is None:
            return
        tensors = {f"{stage}|{name}": each for stage, sums in self._sums.items() for name, each in sums.items()}
        files.save_tensors(self.path, tensors, KIND, {"identity": self.identity, "done": self._done})

    def _load(self, path: Path) -> None:
        tensors, about = files.load_tensors(path, KIND)
        if about.get("identity") != self.identity:
            raise ValueError(f"{path} belongs to another run: name another folder, or delete it")
        try:
            self._done = {str(stage): int(count) for stage, count in about["done"].items()}
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        for name, tensor in tensors.items():
            stage, _, key = name.rpartition("|")
            self._sums.setdefault(stage, {})[key] = tensor
        if set(self._sums) != set(self._done):
            raise ValueError(f"{path} is damaged: its sums and its stages differ")
