"""Specialties as plain numbers: what specialise.json holds."""

from typing import Any

from dissect.specialties.specialties import Found, Specialties
from rewrite.classifiers.classifier import Classifier
from rewrite.reports.interval import counted


def document_of(found: Specialties, classifier: Classifier, pictures: str) -> dict[str, Any]:
    """All that is known, for programs.

    Args:
        found: What was found.
        classifier: Of what.
        pictures: The identity of the pictures.
    """
    training, test = found.training, found.test.responses
    return {
        "model": classifier.fingerprint,
        "part": found.part,
        "units": training.units,
        "pictures": pictures,
        "training": len(training.numbers),
        "test": len(test.numbers),
        "unchanged": counted(int((test.named == test.truth).sum()), len(test.numbers)).document(),
        "subclasses": [_subclass(found, one, classifier) for one in found.found],
        "mean_activation": {
            classifier.classes[number]: training.peaks[training.truth == number].double().mean(dim=0).tolist()
            for number in found.views.classes
        },
    }


def _subclass(found: Specialties, one: Found, classifier: Classifier) -> dict[str, Any]:
    subclass, inside = one.subclass, one.subclass.holds(found.training)
    return {
        "class": classifier.classes[subclass.number],
        "unit": subclass.unit,
        "level": subclass.level,
        "separation": subclass.separation,
        "training": int(inside.sum()),
        "share": float(inside.sum() / (found.training.truth == subclass.number).sum()),
        "chosen": list(one.chosen),
        "sets": [_set(found, one, units) for units in one.sets],
    }


def _set(found: Specialties, one: Found, units: tuple[int, ...]) -> dict[str, Any]:
    """What is named right of each part of the held-out pictures, before and with the units off."""
    row: dict[str, Any] = {"units": list(units)}
    for name, (pictures, before, after) in found.test.counts(one.subclass, units).items():
        shares = (
            {}
            if not pictures
            else {
                "before": counted(before, pictures).document(),
                "after": counted(after, pictures).document(),
            }
        )
        row[name] = {"pictures": pictures, "right_before": before, "right_after": after, **shares}
    return row
