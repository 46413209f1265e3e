"""What is known so far of work over numbered images, kept in a file while it grows, so that a run can stop and go on.

A file holds the stages of one run: for each its tensors, under names that begin with the stage's, and in the header the
images that they are of. What is found of one part of the images is joined to what is known of others by a function that
does not tell in which parts it came; so a run that went on ends with the file of one that was never stopped.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from tqdm import tqdm

from rewrite.generators.batches import batched, ran_out
from rewrite.interrupts import GOES_ON, raised_as_such
from rewrite.progress import stage_bar
from rewrite.shards.crew import each_done
from rewrite.storage import files
from rewrite.storage.quoting import lacking

BATCH = 16
# Images of one shard are those with one quotient by this number.
SHARD = 64
SECONDS_BETWEEN_SAVES = 10.0

Tensors = Mapping[str, Tensor]
Ranges = tuple[tuple[int, int], ...]


class Stage(NamedTuple):
    """What one stage of a run has found so far.

    Attributes:
        tensors: What was found, by name.
        images: The images that it is of, as ranges with an end of their own; none for what is found at once. Files of
            version 0.1 say only how many there are.
    """

    tensors: Tensors
    images: Ranges | int = ()


def added(ours: Tensors, theirs: Tensors) -> dict[str, Tensor]:
    """Sums over some images and over others as sums over all."""
    return {name: each + theirs[name] for name, each in ours.items()}


class Ledger:
    """The stages of one run.

    Args:
        path: The file; without one, nothing is kept.
        identity: What tells this run from others; a file of another run is refused.
        kind: What the file is called in its header.
        about: What else the header says.
        progress: Show progress bars.

    Raises:
        ValueError: The file is damaged, or belongs to another run or version.
    """

    def __init__(
        self,
        path: Path | None = None,
        identity: Mapping[str, Any] | None = None,
        kind: str = "ledger",
        *,
        about: Mapping[str, Any] | None = None,
        progress: bool = False,
    ):
        self.path, self.kind, self.progress = path, kind, progress
        # As a file gives it back.
        self.identity = json.loads(json.dumps(identity or {}, sort_keys=True))
        self.about = {**(about or {}), "identity": self.identity}
        self.stages: dict[str, Stage] = {}
        self._bar: tqdm | None = None
        if path is not None and path.exists():
            self.stages, known = read(path, kind)
            if known.get("identity") != self.identity:
                raise ValueError(f"{path} belongs to another run: name another folder, or delete it")

    def over(
        self,
        stage: str,
        numbers: Sequence[int],
        measure: Callable[[tuple[int, ...]], Tensors],
        *,
        join: Callable[[Tensors, Tensors], Tensors] = added,
        batch: int | None = None,
    ) -> Tensors:
        """What `measure` finds of some images at a time, joined over all of them.

        Args:
            stage: The name of what is found.
            numbers: The images.
            measure: From the numbers of some of them to what is found of these; a `Work`, so that workers may share it.
            join: From what was found of some and of others to what would have been found of both.
            batch: How many are taken at a time. If left out, whole shards, and no run may go on inside of one.

        Raises:
            ValueError: The file holds other images than the first of these.
        """
        rest = self.left(stage, numbers, whole=batch is None)
        saved, done = time.monotonic(), len(numbers) - len(rest)
        images = ranges_of(numbers[:done])
        with (
            self._kept(),
            stage_bar(len(numbers), stage, done=done, shown=self.progress) as self._bar,
        ):
            for part, found in each_done(measure, shards(rest) if batch is None else batched(rest, batch)):
                known = self.stages.get(stage)
                together = found if known is None else self._with(known.tensors, found, join)
                done, images = done + len(part), meeting((*images, *ranges_of(part)))
                self.stages[stage] = Stage(together, images)
                self._bar.update(done - self._bar.n)
                if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                    self.save()
                    saved = time.monotonic()
            if rest:
                self.save()
        return self.stages.get(stage, Stage({})).tensors

    def _with(self, ours: Tensors, theirs: Tensors, join: Callable[[Tensors, Tensors], Tensors]) -> Tensors:
        """What is known and what was found, joined."""
        try:
            if ours.keys() != theirs.keys():
                raise KeyError(*ours.keys() ^ theirs.keys())
            return join(ours, theirs)
        except (KeyError, RuntimeError) as error:
            if self.path is None or (isinstance(error, RuntimeError) and ran_out(error)):
                raise
            raise ValueError(
                f"{self.path} is damaged: it holds other numbers than this run's; delete it to begin anew"
            ) from None

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Save what was found before the user, or the loss of all workers, ended the `with` block."""
        try:
            with raised_as_such():
                yield
        except OSError:  # such as lost workers
            if self.stages:
                self.save()
            raise
        except KeyboardInterrupt:
            if self.path is None or not self.stages:
                raise
            self.save()
            raise KeyboardInterrupt(GOES_ON.format(self.path)) from None

    def seen(self, images: int) -> None:
        """Move the progress bar inside of what `measure` does."""
        if self._bar is not None:
            self._bar.update(images)

    def left(self, stage: str, numbers: Sequence[int], *, whole: bool = True) -> Sequence[int]:
        """The images that a stage lacks.

        Raises:
            ValueError: The stage has others than the first of these; or the last of its own lies in one shard with the
                first that it lacks, where shards are to stay whole.
        """
        known = self.stages.get(stage, Stage({}))
        held = ranges_of(numbers[: known.images]) if isinstance(known.images, int) else known.images
        count = sum(stop - start for start, stop in held)
        rest = numbers[count:]
        cut = whole and count and len(rest) and numbers[count - 1] // SHARD == rest[0] // SHARD
        if held != ranges_of(numbers[:count]) or cut:
            listed = ", ".join(f"{start} to {stop - 1}" for start, stop in held)
            run = f"a run of {len(numbers)} images" + (f" from {numbers[0]} on" if len(numbers) else "")
            remedy = "name another folder, or delete it"
            raise ValueError(f"{self.path} holds the images {listed}, which {run} does not go on from: {remedy}")
        return rest

    def once(self, stage: str, make: Callable[[], Tensors]) -> Tensors:
        """What `make` gives, made once."""
        if stage not in self.stages:
            self.stages[stage] = Stage(make())
            self.save()
        return self.stages[stage].tensors

    def save(self) -> None:
        """Write what there is, whole or not at all."""
        if self.path is not None:
            write(self.path, self.kind, self.stages, self.about)


def write(path: str | Path, kind: str, stages: Mapping[str, Stage], about: Mapping[str, Any]) -> None:
    """Write the stages of a run, whole or not at all."""
    tensors = {f"{stage}|{name}": each for stage, found in stages.items() for name, each in found.tensors.items()}
    done = {name: stage.images for name, stage in stages.items()}
    files.save_tensors(path, tensors, kind, {**about, "done": done})


def read(path: str | Path, kind: str) -> tuple[dict[str, Stage], dict[str, Any]]:
    """Read what `write` wrote: the stages, and what is known of them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, of another version, or holds something else.
    """
    tensors, about = files.load_tensors(path, kind)
    if "done" not in about:
        raise ValueError(f"{path} was written by another version of this library: name another folder, or delete it")
    try:
        found: dict[str, dict[str, Tensor]] = {name: {} for name in about["done"]}
        for name, tensor in tensors.items():
            stage, _, key = name.rpartition("|")
            found[stage][key] = tensor
        stages = {name: Stage(found[name], _images(done)) for name, done in about["done"].items()}
    except (KeyError, AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is damaged: {lacking(error)}") from None
    if not all(stage.tensors for stage in stages.values()):
        raise ValueError(f"{path} is damaged: its tensors and its stages differ")
    return stages, about


def images_in(path: Path, stage: str) -> int:
    """How many images a stage has seen so far; only the header of the file is read, and there may be no file yet."""
    done = files.read_header(path)[1]["done"].get(stage, ()) if path.exists() else ()
    return sum(stop - start for start, stop in done)


def describe(path: str | Path, kind: str) -> dict[str, Any]:
    """What `rewrite inspect` says of a file of a run: how far each stage came, and of what."""
    stages, about = read(path, kind)
    return {
        "stages": {name: _told(stage.images) for name, stage in stages.items()},
        **{name: value for name, value in about["identity"].items() if isinstance(value, str | int | float)},
    }


def shards(numbers: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The numbers in groups that do not depend on where a run begins or ends."""
    for _, group in groupby(numbers, key=lambda number: number // SHARD):
        yield tuple(group)


def ranges_of(numbers: Sequence[int]) -> Ranges:
    """Numbers as ranges, those that follow each other in one."""
    return meeting([(number, number + 1) for number in numbers])


def meeting(ranges: Sequence[tuple[int, int]]) -> Ranges:
    """Ranges with those that meet made one."""
    found: list[tuple[int, int]] = []
    for start, stop in ranges:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return tuple(found)


def _told(images: Ranges | int) -> str:
    count = images if isinstance(images, int) else sum(stop - start for start, stop in images)
    return f"{count} images" if count else "done"


def _images(done: Any) -> Ranges | int:
    return done if isinstance(done, int) else tuple((int(start), int(stop)) for start, stop in done)
