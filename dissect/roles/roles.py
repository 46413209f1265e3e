"""The role of units: how much worse a class is told from others without them (Bau et al., PNAS 2020, fig. 3).

Units are chosen for each class on some pictures, and what the sets do is scored on others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64

from dissect.roles.ablations import ablations
from dissect.roles.accuracy import rank_correlation
from dissect.roles.detectors import Detectors, peaks_in
from dissect.roles.following import NextLayer, next_layer
from dissect.roles.screen import screened
from dissect.roles.tally import Tally
from dissect.sources.classes import ClassedPictures, Split
from rewrite.classifiers.classifier import Classifier
from rewrite.generators.batches import in_batches
from rewrite.generators.fingerprint import hash_of
from rewrite.generators.maps import units_axis
from rewrite.reports.interval import Interval
from rewrite.shards.work import Work
from rewrite.storage.ledger import Ledger, Tensors, added
from rewrite.storage.quoting import lacking

BATCH = 64
TRIED = 4
SIZES = (4, 20)
STAGES = SCREEN, UNCHANGED, OFF, SETS, PEAKS = "screen", "unchanged", "units off", "sets off", "detectors"


@dataclass(frozen=True)
class Roles:
    """What units do for classes.

    Attributes:
        part: Path of the part that they are of.
        units: How many there are.
        classes: The numbers of the classes that were asked about.
        split: The pictures on which units were chosen, and on which sets were scored.
        importance: By how much the balanced accuracy of each class falls without each unit, on the first pictures; NaN
            where that was only guessed.
        soft_importance: The same by softer counts, which order units that change no name.
        guessed: The same as the latter, to the first order.
        order: The units of each class, the most important first.
        sets: The units that are off, by what they are: none first, then for each class its best, and all others.
        tally: What is named what on the test pictures with each of the sets off.
        detectors: How well each unit alone tells each class, in the order of `classes`.
        following: The next layer, where that is what runs again; None where all does.
    """

    part: str
    units: int
    classes: Sequence[int]
    split: Split
    importance: Float[np.ndarray, "units classes"]
    soft_importance: Float[np.ndarray, "units classes"]
    guessed: Float[np.ndarray, "units classes"]
    order: Int64[np.ndarray, "asked units"]
    sets: Mapping[tuple[int, str], Sequence[int]]
    tally: Tally
    detectors: Detectors
    following: NextLayer | None = field(default=None, repr=False)

    def best(self, number: int, size: int) -> list[int]:
        """The most important units of a class, by its number."""
        return self.order[list(self.classes).index(number)][:size].tolist()

    @property
    def screen_correlation(self) -> Interval[float]:
        """How well the first guess orders units by their importance: the rank correlation over units and classes."""
        known = ~np.isnan(self.soft_importance)
        return rank_correlation(self.guessed[known], self.soft_importance[known])


def find_roles(
    classifier: Classifier,
    part: str,
    pictures: ClassedPictures,
    split: Split,
    *,
    classes: Sequence[int] | None = None,
    sizes: tuple[int, int] = SIZES,
    promising: int | None = None,
    ledger: Ledger | None = None,
) -> Roles:
    """Measure what each class loses without each unit, and without sets of them.

    Args:
        classifier: The classifier.
        part: Path of any part of it that gives maps, vectors or tokens.
        pictures: Pictures with their classes.
        split: Those on which units are chosen, and those on which the sets are scored.
        classes: The classes that are asked about; those with pictures if left out.
        sizes: Sizes of the small and of the larger set of best units.
        promising: Measure only so many units of each class, those of which the first guess expects most; all if left
            out.
        ledger: What keeps the counts while they grow; nothing is kept if left out. See `identity_of`.

    Raises:
        LookupError: The classifier has no such part.
        ValueError: It gives no units, too few for the sets, a size is below one, or the ledger is of another run.
    """
    units = _units(classifier, part)
    if not 1 <= sizes[0] <= sizes[1] < units:
        raise ValueError(f"sets of {sizes[0]} and {sizes[1]} units are of a part of {units}: name smaller ones")
    truth = pictures.classes(split.training)
    asked = sorted(set(truth.tolist())) if classes is None else list(classes)
    following = next_layer(classifier, part, pictures.images(split.training[:TRIED]))
    measure = _Measure(Asked(classifier, part, pictures, following), ledger or Ledger())
    guess = measure.screen(split.training)
    # What all units together do is known after one set: none.
    whole = measure.of([()], split.training, UNCHANGED)
    guessed = whole.soft_accuracy - guess.soft_accuracy
    chosen = _promising(guessed[:, asked], promising)
    alone = measure.of([(unit,) for unit in chosen.tolist()], split.training, OFF)
    importance, soft = (np.full((units, len(classifier.classes)), np.nan) for _ in range(2))
    importance[chosen] = whole.accuracy - alone.accuracy
    soft[chosen] = whole.soft_accuracy - alone.soft_accuracy
    order = np.array([_ordered(importance[:, number], soft[:, number], guessed[:, number]) for number in asked])
    sets = _sets(order, asked, sizes)
    tally = measure.of(list(sets.values()), split.test, SETS)
    detectors = measure.detectors(split, asked)
    return Roles(part, units, asked, split, importance, soft, guessed, order, sets, tally, detectors, following)


def identity_of(
    classifier: Classifier,
    part: str,
    pictures: ClassedPictures,
    split: Split,
    *,
    classes: Sequence[int] | None = None,
    sizes: tuple[int, int] = SIZES,
    promising: int | None = None,
) -> dict[str, Any]:
    """What tells the counts of one run of `find_roles` from those of another."""
    numbers = {name: torch.tensor(each) for name, each in zip(Split._fields, split, strict=True)}
    return {
        "model": classifier.fingerprint,
        "part": part,
        "pictures": pictures.identity,
        "split": hash_of(numbers),
        "classes": None if classes is None else list(classes),
        "sizes": list(sizes),
        "promising": promising,
    }


class Asked(NamedTuple):
    """What all counts of a run are of; it travels once to each worker.

    Attributes:
        classifier: The classifier.
        part: Path of the part.
        pictures: Pictures with their classes.
        following: The next layer, where that is what runs again.
    """

    classifier: Classifier
    part: str
    pictures: ClassedPictures
    following: NextLayer | None


class _Measure:
    """Scores pictures with sets of units off."""

    def __init__(self, asked: Asked, ledger: Ledger):
        self.asked, self.ledger = asked, ledger

    def screen(self, numbers: Sequence[int]) -> Tally:
        """Guess what is named what with each unit off."""
        return self._counted(SCREEN, numbers, guessed_of, ())

    def of(self, sets: Sequence[Sequence[int]], numbers: Sequence[int], stage: str) -> Tally:
        """Count what is named what with each set off."""
        return self._counted(stage, numbers, scored_of, (tuple(map(tuple, sets)),))

    def detectors(self, split: Split, classes: Sequence[int]) -> Detectors:
        """How well each unit alone tells each class."""
        numbers, first = (*split.training, *split.test), len(split.training)
        found = self.ledger.over(PEAKS, range(len(numbers)), self._work(peaks_at, numbers), join=joined_peaks)
        peaks, truth = found["peaks"], self.asked.pictures.classes(numbers)
        return Detectors.of((peaks[:first], peaks[first:]), (truth[:first], truth[first:]), classes)

    def _counted(self, stage: str, numbers: Sequence[int], count: Callable[..., Tensors], given: tuple) -> Tally:
        """Counts of all pictures, some at a time."""
        found = self.ledger.over(stage, range(len(numbers)), self._work(count, tuple(numbers), *given))
        try:
            return Tally.of(found)
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"{self.ledger.path} is damaged: {lacking(error)}") from None

    def _work(self, function: Callable[..., Tensors], *given: Any) -> Work:
        return Work(function, self.asked, self.asked.classifier, given)


def guessed_of(asked: Asked, places: Sequence[int], numbers: Sequence[int]) -> Tensors:
    """The first guess for the pictures at some places of a list; memory may allow fewer of them at once."""

    def count(chosen: Sequence[int]) -> Tally:
        return screened(asked.classifier, asked.part, asked.pictures, chosen)

    return _together(places, numbers, count)


def scored_of(asked: Asked, places: Sequence[int], numbers: Sequence[int], sets: Sequence[Sequence[int]]) -> Tensors:
    """The counts of the same with each set off; what comes before the part runs once for each batch."""

    @torch.no_grad()
    def count(chosen: Sequence[int]) -> Tally:
        tally, truth = Tally(len(sets), len(asked.classifier.classes)), asked.pictures.classes(chosen)
        started = ablations(asked.classifier, asked.part, asked.pictures.images(chosen), asked.following)
        tally.begin(truth)
        for number, units in enumerate(sets):
            tally.add(number, started.without(units) if units else started.whole, truth)
        return tally

    return _together(places, numbers, count)


def peaks_at(asked: Asked, places: Sequence[int], numbers: Sequence[int]) -> Tensors:
    """The greatest activation of each unit in the same."""
    images = asked.pictures.images([numbers[place] for place in places])
    return {"peaks": peaks_in(asked.classifier, asked.part, images)}


def joined_peaks(ours: Tensors, theirs: Tensors) -> Tensors:
    """Those of some pictures, then those of the next ones."""
    return {"peaks": torch.cat([ours["peaks"], theirs["peaks"]])}


def _together(places: Sequence[int], numbers: Sequence[int], count: Callable[[Sequence[int]], Tally]) -> Tensors:
    chosen = [numbers[place] for place in places]
    return reduce(added, [tally.tensors() for _, tally in in_batches(chosen, BATCH, count)])


def _units(classifier: Classifier, part: str) -> int:
    with torch.no_grad():
        output = classifier.stop(part, torch.zeros(1, 3, *classifier.size)).output
    return output.shape[units_axis(output)]


def _promising(guessed: Float[np.ndarray, "units classes"], most: int | None) -> Int64[np.ndarray, " chosen"]:
    """The units of which the first guess expects most, for any class."""
    if most is None or most >= len(guessed):
        return np.arange(len(guessed))
    return np.unique(np.argsort(-guessed, axis=0, kind="stable")[:most])


def _ordered(importance: np.ndarray, soft: np.ndarray, guessed: np.ndarray) -> Int64[np.ndarray, " units"]:
    """Units by what the class loses without them; those that were not measured come last, by the first guess."""
    unknown = np.isnan(importance)
    keys = (-guessed, -np.nan_to_num(soft), -np.nan_to_num(importance), unknown)
    return np.lexsort(keys)


def _sets(
    order: Int64[np.ndarray, "asked units"], asked: Sequence[int], sizes: tuple[int, int]
) -> dict[tuple[int, str], Sequence[int]]:
    """The sets that are scored, by class and kind."""
    few, more = sizes
    sets: dict[tuple[int, str], Sequence[int]] = {(-1, "none"): ()}
    for number, units in zip(asked, order.tolist(), strict=True):
        sets[number, "few"], sets[number, "more"], sets[number, "keep"] = units[:few], units[:more], units[more:]
    return sets
