"""A dissection: levels first, then every image once, shard by shard, so that it can stop anywhere and go on."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from dissect.units.informative import Graded, candidates
from dissect.units.probe import LEVEL_SAMPLES, Probe
from dissect.units.scores import Scores
from dissect.units.sketch import QuantileSketch
from dissect.units.tally import Tally, tally_of
from dissect.units.tops import Tops
from dissect.units.upsampling import Lit, sampled_pixels, upsampling
from rewrite.generators.contract import batched
from rewrite.reports.concepts import Concepts
from rewrite.storage import files

TAIL = 0.01
# Images whose labels are exchanged for the null belong together: those with one quotient by this number.
SHARD = 64
BATCH = 16
SECONDS_BETWEEN_SAVES = 10.0
KIND = "dissection"
BUILT_IN = {"towers": Path(__file__).with_name("towers-units.safetensors")}


@dataclass(frozen=True)
class Dissection:
    """What was counted of the units of one view.

    Attributes:
        view: The layer, or what was made of it.
        concepts: What labels stand for.
        levels: The level of each unit.
        tally: The counts at these levels.
        tops: The images with the greatest activations.
        grades: Candidate levels, where informative levels were asked for.
        graded: Counts at the candidates.
        numbers: The images that were counted, as ranges with an end of their own.
        identity: The probe, and how levels were chosen.
    """

    view: str
    concepts: Concepts
    levels: Float[Tensor, " units"]
    tally: Tally
    tops: Tops
    grades: Float[Tensor, "units levels"] | None = None
    graded: Graded | None = None
    numbers: tuple[tuple[int, int], ...] = ()
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scores(self) -> Scores:
        """The agreement of units and concepts."""
        return Scores(self.tally, self.concepts)

    def __add__(self, other: "Dissection") -> "Dissection":
        """Two parts as one.

        Raises:
            ValueError: They are not of the same units at the same levels, or share images.
        """
        same = (self.view, self.concepts, self.identity) == (other.view, other.concepts, other.identity)
        if not same or not torch.equal(self.levels, other.levels):
            raise ValueError("parts of a dissection must be of one model, layer, source and level")
        shared = [ours for ours in self.numbers for their in other.numbers if ours[0] < their[1] and their[0] < ours[1]]
        if shared:
            raise ValueError(f"parts of a dissection must not share images, both hold image {shared[0][0]} or near it")
        return replace(
            self,
            tally=self.tally + other.tally,
            tops=self.tops + other.tops,
            graded=None if self.graded is None else self.graded + other.graded,
            numbers=joined(sorted(self.numbers + other.numbers)),
        )

    def emptied(self) -> "Dissection":
        """The same before any image was counted."""
        units, concepts = len(self.levels), len(self.concepts)
        return replace(
            self,
            tally=Tally.empty(units, self.concepts),
            tops=Tops.empty(units),
            graded=None if self.graded is None else Graded.empty(units, concepts),
            numbers=(),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All numbers by name."""
        found = {f"tally.{name}": tensor for name, tensor in self.tally.tensors().items()}
        found |= {"levels": self.levels, "tops.peaks": self.tops.peaks, "tops.numbers": self.tops.numbers}
        if self.graded is not None:
            found |= {"grades": self.grades, "graded": self.graded.counts}
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], **about: Any) -> "Dissection":
        """The inverse of `tensors`, with the other attributes."""
        tally = {name.removeprefix("tally."): each for name, each in tensors.items() if name.startswith("tally.")}
        return cls(
            levels=tensors["levels"],
            tally=Tally.from_tensors(tally),
            tops=Tops(tensors["tops.peaks"], tensors["tops.numbers"]),
            grades=tensors.get("grades"),
            graded=Graded(tensors["graded"]) if "graded" in tensors else None,
            **about,
        )


def dissect(
    probe: Probe,
    samples: int = 1000,
    *,
    tail: float = TAIL,
    level_samples: int = LEVEL_SAMPLES,
    informative: bool = False,
    state: Path | None = None,
    progress: bool = False,
) -> dict[str, Dissection]:
    """Count how the units of a probe agree with concepts.

    Args:
        probe: What to look at.
        samples: How many images to count.
        tail: A unit's level is what this share of its activations passes.
        level_samples: How many images, apart from those, the levels are taken from.
        informative: Whether to also look for the most informative level of each unit and concept; takes longer.
        state: A file that keeps the counts while they grow: a run that was ended goes on from there. It stays when all
            is done.
        progress: Show a progress bar.

    Raises:
        ValueError: Numbers are out of range, activations are not finite, or `state` belongs to another run.
    """
    run, rest = begin(
        probe,
        samples,
        tail=tail,
        level_samples=level_samples,
        informative=informative,
        state=state,
        progress=progress,
    )
    return count(run, probe, rest, state=state, progress=progress)


def begin(
    probe: Probe,
    samples: int,
    *,
    tail: float = TAIL,
    level_samples: int = LEVEL_SAMPLES,
    informative: bool = False,
    state: Path | None = None,
    progress: bool = False,
) -> tuple[dict[str, Dissection], Sequence[int]]:
    """Choose the levels, or take up what `state` keeps. See `dissect`.

    Returns:
        What was counted so far, and the numbers of the images that are left.
    """
    if samples < 2 or level_samples < 1:
        raise ValueError(
            f"a dissection needs two images or more, and one for levels, got {samples} and {level_samples}"
        )
    level_numbers, numbers = probe.split(samples, level_samples)
    identity = {**probe.identity, "tail": tail, "level_samples": level_samples, "informative": informative}
    run = {} if state is None else load_dissections(state, identity)
    if run:
        return run, left(run, numbers, state)
    return _begin(probe, _sketches(probe, level_numbers, progress), tail, informative, identity), numbers


def left(run: Mapping[str, Dissection], numbers: Sequence[int], path: Path) -> Sequence[int]:
    """The numbers that are not counted yet.

    Raises:
        ValueError: Others were counted than the first of these numbers, or the last of them without the images whose
            labels theirs would have been exchanged with.
    """
    counted, done = next(iter(run.values())).numbers, int(next(iter(run.values())).tally.images)
    rest = numbers[done:]
    cut = done and len(rest) and numbers[done - 1] // SHARD == rest[0] // SHARD
    if counted != ranges_of(numbers[:done]) or cut:
        held = ", ".join(f"{start} to {stop - 1}" for start, stop in counted)
        raise ValueError(
            f"{path} holds the images {held}, which a run of {len(numbers)} images from {numbers[0]} on does not go on "
            "from: name another folder, or delete it"
        )
    return rest


def count(
    run: Mapping[str, Dissection],
    probe: Probe,
    numbers: Sequence[int],
    *,
    state: Path | None = None,
    progress: bool = False,
) -> dict[str, Dissection]:
    """Count more images, shard by shard. See `dissect`."""
    run, saved = dict(run), time.monotonic()
    done = int(next(iter(run.values())).tally.images)
    whole = done + len(numbers)
    with tqdm(total=whole, initial=done, desc="dissect", unit="img", delay=1, disable=not progress) as bar:
        for shard in shards(numbers):
            run = _with_shard(run, probe, shard, bar.update)
            if state is not None and time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                save_dissections(state, run)
                saved = time.monotonic()
    if state is not None:
        save_dissections(state, run)
    return run


def shards(numbers: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The numbers in groups whose labels are exchanged for the null."""
    for _, group in groupby(numbers, key=lambda number: number // SHARD):
        yield tuple(group)


def joined(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ranges in ascending order, with those that meet made one."""
    found: list[tuple[int, int]] = []
    for start, stop in ranges:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return tuple(found)


def save_dissections(path: str | Path, run: Mapping[str, Dissection]) -> None:
    """Write the dissections of several views that were made together."""
    first = next(iter(run.values()))
    about = {
        "views": list(run),
        "names": first.concepts.names,
        "categories": first.concepts.categories,
        "numbers": first.numbers,
        "identity": dict(first.identity),
    }
    tensors = {f"{i}.{name}": each for i, one in enumerate(run.values()) for name, each in one.tensors().items()}
    files.save_tensors(path, tensors, KIND, about)


def load_dissections(path: str | Path, identity: Mapping[str, Any] | None = None) -> dict[str, Dissection]:
    """Read what `save_dissections` wrote; nothing if a certain run is asked for and there is no file yet.

    Args:
        path: The file, or `towers` for the one that comes with the built-in generator.
        identity: The run that is asked for, if a certain one is.

    Raises:
        FileNotFoundError: There is no such file, and no certain run is asked for.
        ValueError: The file is damaged, or of another run.
    """
    path = BUILT_IN.get(str(path), path)
    if identity is not None and not Path(path).exists():
        return {}
    tensors, about = files.load_tensors(path, KIND)
    if identity is not None and about.get("identity") != json.loads(json.dumps(identity)):
        raise ValueError(f"{path} belongs to another dissection: name another folder, or delete it")
    try:
        concepts = Concepts(tuple(about["names"]), tuple(about["categories"]))
        shared = {
            "concepts": concepts,
            "numbers": tuple((int(start), int(stop)) for start, stop in about["numbers"]),
            "identity": about["identity"],
        }
        return {
            view: Dissection.from_tensors(_of_view(tensors, i), view=view, **shared)
            for i, view in enumerate(about["views"])
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is a damaged dissection: {error}") from None


def _of_view(tensors: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    start = f"{number}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _sketches(probe: Probe, numbers: Sequence[int], progress: bool) -> dict[str, QuantileSketch]:
    """Sketches of the upsampled activations, at a sample of pixels of each image that hangs on its number."""
    size = tuple(probe.observe(numbers[:1]).labels.shape[-2:])
    sketches: dict[str, QuantileSketch] = {}
    with tqdm(total=len(numbers), desc="levels", unit="img", delay=1, disable=not progress) as bar:
        for part in batched(numbers, BATCH):
            for view, maps in probe.activations(part).items():
                chosen = sampled_pixels(part, size).to(maps.device)
                values = upsampling(tuple(maps.shape[-2:]), size, maps.device).at(maps, chosen)
                sketch = sketches.get(view) or QuantileSketch.empty(maps.shape[1], maps.device)
                sketches[view] = sketch.seeing(values.transpose(0, 1).flatten(1))
            bar.update(len(part))
    return sketches


def _begin(
    probe: Probe, sketches: Mapping[str, QuantileSketch], tail: float, informative: bool, identity: Mapping
) -> dict[str, Dissection]:
    return {
        view: Dissection(
            view=view,
            concepts=probe.concepts,
            levels=sketches[view].level(tail).cpu(),
            tally=Tally.empty(units, probe.concepts),
            tops=Tops.empty(units),
            grades=candidates(sketches[view]).cpu() if informative else None,
            graded=Graded.empty(units, len(probe.concepts)) if informative else None,
            # As a file gives it back.
            identity=json.loads(json.dumps(identity, sort_keys=True)),
        )
        for view, units in probe.units.items()
    }


def _with_shard(
    run: Mapping[str, Dissection], probe: Probe, shard: Sequence[int], on_progress: Callable[[int], Any]
) -> dict[str, Dissection]:
    """The run with one more shard; `on_progress` gets the number of images after each batch."""
    lit: dict[str, list[Lit]] = {view: [] for view in run}
    run, labels, seen = dict(run), [], 0
    for part in batched(shard, BATCH):
        observed = probe.observe(part)
        labels.append(observed.labels.to(next(iter(observed.activations.values())).device))
        for view, maps in observed.activations.items():
            one, levels = run[view], run[view].levels.to(maps.device)
            if not torch.isfinite(maps).all():
                raise ValueError(f"the activations of {view} are not finite: the network's weights are damaged")
            found = upsampling(tuple(maps.shape[-2:]), tuple(labels[-1].shape[-2:]), maps.device).above(maps, levels)
            lit[view].append(found._replace(images=found.images + seen))
            tops = one.tops + Tops.of(maps.amax(dim=(2, 3)), part)
            graded = one.graded
            if graded is not None:
                graded = graded.seeing(maps, labels[-1], part, one.grades.to(maps.device))
            run[view] = replace(one, tops=tops, graded=graded)
        seen += len(part)
        on_progress(len(part))
    together = torch.cat(labels)
    for view, parts in lit.items():
        one = run[view]
        found = Lit(*(torch.cat(lists) for lists in zip(*parts, strict=True)))
        tally = one.tally + tally_of(found, together, len(one.levels), one.concepts)
        run[view] = replace(one, tally=tally, numbers=joined([*one.numbers, *ranges_of(shard)]))
    return run


def ranges_of(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Ascending numbers as ranges."""
    return joined([(number, number + 1) for number in numbers])
