"""What units specialise in: subclasses of classes that the network loses, and nothing else, without a unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dissect.sources.classes import ClassedPictures, Split
from dissect.specialties.losses import MOST_UNITS, Named, grown, named_without
from dissect.specialties.responses import Prefix, Responses, find_responses
from dissect.specialties.subclasses import Subclass, find_subclasses
from dissect.specialties.views import Views, find_views
from rewrite.classifiers.classifier import Classifier
from rewrite.storage.ledger import Ledger

KIND = "specialties"
MOST = 12
STAGES = ("units off", *(f"sets of {size}" for size in range(2, MOST_UNITS + 1)), "all sets", "views")


@dataclass(frozen=True)
class Found:
    """A subclass with what it is lost by.

    Attributes:
        subclass: The subclass.
        sets: Its unit alone, and sets of more.
        chosen: The set without which it loses most by itself, on the pictures that it was chosen on.
        gap: How much more it loses there, in names and softmax, than whatever else loses most.
    """

    subclass: Subclass
    sets: Sequence[tuple[int, ...]]
    chosen: tuple[int, ...]
    gap: float


@dataclass(frozen=True)
class Specialties:
    """What was found.

    Attributes:
        part: Path of the part that the units are of.
        training: What units do on the pictures that subclasses and sets were chosen on.
        test: What other pictures are named without the sets.
        found: The subclasses, those that lose most by themselves first.
        views: What drives the units of the subclasses, on the first pictures.
    """

    part: str
    training: Responses
    test: Named
    found: Sequence[Found]
    views: Views


def find_specialties(
    classifier: Classifier,
    part: str,
    pictures: ClassedPictures,
    split: Split,
    *,
    classes: Sequence[int] | None = None,
    units: Sequence[int] | None = None,
    most: int = MOST,
    state: Path | None = None,
) -> Specialties:
    """Look for subclasses that units specialise in.

    Args:
        classifier: The classifier.
        part: Path of any part of it that gives maps, vectors or tokens.
        pictures: Pictures with their classes.
        split: Those that subclasses are chosen on, and those that the losses are of.
        classes: The classes that are looked into; all if left out.
        units: The units that may tell a subclass; all if left out.
        most: How many subclasses are given.
        state: File that a run which was stopped goes on from; nothing is kept if left out.

    Raises:
        LookupError: The classifier has no such part, or the part no such unit.
        ValueError: No unit tells a part of a class from the rest of it, or none is asked for.
    """
    if most < 1:
        raise ValueError(f"one part or more is shown, got {most}")
    asked = sorted(set(pictures.classes(split.training).tolist())) if classes is None else list(classes)
    prefix = Prefix(classifier, part, pictures, split.training)
    count = prefix.peaks(split.training[:1]).shape[1]
    beyond = [unit for unit in units or () if not 0 <= unit < count]
    if beyond:
        raise LookupError(f"part {part} has units 0 to {count - 1}, got {beyond[0]}")
    identity = _identity(classifier, part, pictures, split, (asked, units, most))
    ledger = Ledger(state, identity, KIND, progress=True)
    numbers, first = [*split.training, *split.test], len(split.training)
    responses = find_responses(prefix, numbers, ledger)
    training, test = responses.part(slice(first)), responses.part(slice(first, None))
    subclasses = [each for each in find_subclasses(training, asked, 2 * most, units) if each.holds(test).any()]
    if not subclasses:
        raise ValueError(f"no unit of {part} tells a part of a class from the rest of it on these pictures")
    sets = grown(prefix, training, subclasses, ledger)
    every = list(dict.fromkeys(units for steps in sets for units in steps))
    both = named_without(prefix, responses, every, ledger, STAGES[-2])
    found = sorted(
        (_found(both.part(slice(first)), each, steps) for each, steps in zip(subclasses, sets, strict=True)),
        key=lambda each: -each.gap,
    )[:most]
    shown = sorted({each.subclass.unit for each in found})
    views = find_views(classifier, part, pictures, split.training, shown, ledger)
    return Specialties(part, training, both.part(slice(first, None)), found, views)


def _found(named: Named, subclass: Subclass, sets: Sequence[tuple[int, ...]]) -> Found:
    """The smallest of the sets without which the subclass loses most by itself."""
    gaps = [sum(named.gap(subclass, units)) for units in sets]
    best = max(range(len(sets)), key=gaps.__getitem__)
    return Found(subclass, sets, sets[best], gaps[best])


def _identity(
    classifier: Classifier, part: str, pictures: ClassedPictures, split: Split, asked: tuple[Any, ...]
) -> dict[str, Any]:
    return {
        "model": classifier.fingerprint,
        "part": part,
        "pictures": pictures.identity,
        "split": [list(map(int, each)) for each in split],
        "asked": list(asked),
    }
