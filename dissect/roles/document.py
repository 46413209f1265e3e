"""Roles as plain numbers: what roles.json and the tables of `rewrite roles` hold."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dissect.roles.accuracy import balanced_interval
from dissect.roles.interpretability import Interpretability
from dissect.roles.roles import Roles
from rewrite.classifiers.classifier import Classifier
from rewrite.reports.interval import counted

# The columns of the table, after all units are on.
KINDS = ("few", "more", "keep")


def document_of(
    roles: Roles, classifier: Classifier, pictures: str, sizes: tuple[int, int], found: Interpretability | None = None
) -> dict[str, Any]:
    """All that is known of the roles, for programs.

    Args:
        roles: What was measured.
        classifier: Of what.
        pictures: The identity of the pictures.
        sizes: The sizes of the sets of best units.
        found: How well units agree with concepts, where that is known.
    """
    few, more = sizes
    return {
        "model": classifier.fingerprint,
        "part": roles.part,
        "units": roles.units,
        "few": few,
        "more": more,
        "pictures": pictures,
        "training": len(roles.split.training),
        "test": len(roles.split.test),
        "updated": None if roles.following is None else roles.following.name,
        "unchanged": _all_right(roles, (-1, "none")),
        "chance": {"balanced": 0.5, "all": 1 / len(classifier.classes)},
        "screen_correlation": roles.screen_correlation.document(),
        "classes": [_class(roles, classifier, number, few) for number in roles.classes],
        "interpretability": None if found is None else _interpretability(found),
        "unit": [_unit(roles, classifier, unit, found) for unit in range(roles.units)],
    }


def roles_csv(document: Mapping[str, Any]) -> str:
    """The table of classes: balanced accuracy, and accuracy over all classes, with each set of units off."""
    ends = ("value", "low", "high")
    columns = ["class", "unchanged", "unchanged_low", "unchanged_high"]
    for kind in KINDS:
        columns += [kind, f"{kind}_low", f"{kind}_high", f"{kind}_all"]
    columns += ["detector", "detects", "detects_low", "detects_high"]
    rows = [
        [
            row["class"],
            *(row["unchanged"][end] for end in ends),
            *(cell for kind in KINDS for cell in (*(row[kind][end] for end in ends), row[f"{kind}_all"]["value"])),
            row["detector"]["unit"],
            *(row["detector"][end] for end in ends),
        ]
        for row in document["classes"]
    ]
    return _csv(columns, rows)


def units_csv(document: Mapping[str, Any]) -> str:
    """Every unit with every class: its importance by names and by softer counts, the first guess, and as a detector."""
    rows = [
        [
            unit["unit"],
            name,
            *(found[column] for column in ("importance", "soft", "guess")),
            *(found["detector"][column] for column in ("level", "value", "low", "high")),
        ]
        for unit in document["unit"]
        for name, found in unit["classes"].items()
    ]
    return _csv(
        ["unit", "class", "importance", "soft", "guess", "level", "detects", "detects_low", "detects_high"], rows
    )


def _class(roles: Roles, classifier: Classifier, number: int, few: int) -> dict[str, Any]:
    row: dict[str, Any] = {"class": classifier.classes[number], "unchanged": _balanced(roles, (-1, "none"), number)}
    for kind in KINDS:
        row[kind] = _balanced(roles, (number, kind), number)
        row[f"{kind}_all"] = _all_right(roles, (number, kind))
    best = roles.best(number, few)
    row["detector"] = _detector(roles, roles.detectors.best(list(roles.classes).index(number)), number)
    return {**row, "best": best, "importance": [_known(roles.importance[unit, number]) for unit in best]}


def _detector(roles: Roles, unit: int, number: int) -> dict[str, Any]:
    """How well a unit alone tells a class: the balanced accuracy on the test pictures, and how its level was chosen."""
    found, column = roles.detectors, list(roles.classes).index(number)
    others = len(roles.split.test) - int(found.pictures[column])
    return {
        "unit": unit,
        "level": _known(found.levels[unit, column]),
        "chosen_by": _known(found.chosen_by[unit, column]),
        **found.accuracy(unit, column, others).document(),
    }


def _balanced(roles: Roles, named: tuple[int, str], number: int) -> dict[str, float | None]:
    hits, called = roles.tally.hits(list(roles.sets).index(named))
    pictures = int(roles.tally.pictures[number])
    others = int(roles.tally.pictures.sum()) - pictures
    return balanced_interval(int(hits[number]), int(called[number]), pictures, others).document()


def _all_right(roles: Roles, named: tuple[int, str]) -> dict[str, float | None]:
    right = int(roles.tally.right[list(roles.sets).index(named)])
    return counted(right, int(roles.tally.pictures.sum())).document()


def _interpretability(found: Interpretability) -> dict[str, Any]:
    by_classes = {str(number): interval.document() for number, interval in found.by_classes.items()}
    return {"correlation": found.correlation.document(), "iou_by_classes": by_classes}


def _unit(roles: Roles, classifier: Classifier, unit: int, found: Interpretability | None) -> dict[str, Any]:
    shown = {} if found is None else {"iou": float(found.iou[unit]), "concept": found.concepts[unit]}
    columns = {"importance": roles.importance, "soft": roles.soft_importance, "guess": roles.guessed}
    by_class = {
        classifier.classes[number]: {
            **{name: _known(values[unit, number]) for name, values in columns.items()},
            "detector": _detector(roles, unit, number),
        }
        for number in roles.classes
    }
    return {"unit": unit, **shown, "classes": by_class}


def _known(number: float) -> float | None:
    """JSON knows no NaN."""
    return float(number) if math.isfinite(number) else None


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    return buffer.getvalue()
