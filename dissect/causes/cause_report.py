"""Causes as plain numbers: what effects.json and the tables of `rewrite effects` hold."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dissect.causes.acceptance import Acceptance
from dissect.causes.causes import Cause, Causes
from dissect.causes.experiment import Experiment
from dissect.units.dissection import Dissection
from rewrite.generators.classes import marked

# What stood where a set was inserted is shown if it was met in so many images.
LEAST_IMAGES = 3
ENDS = ("value", "low", "high")


def document_of(causes: Causes, experiment: Experiment, dissection: Dissection | None = None) -> dict[str, Any]:
    """All that is known of the causes, for programs.

    Args:
        causes: What was found.
        experiment: Where.
        dissection: The dissection that the ranking by IoU is of.
    """
    return {
        "layer": experiment.layer,
        "units": experiment.units,
        "identity": {
            "model": experiment.generator.fingerprint,
            "truncation": experiment.generator.truncation,
            **marked(experiment.generator.label),
            "source": experiment.source.identity,
        },
        "samples": causes.plan.samples,
        "training": causes.plan.training,
        "side": causes.side,
        "screened": causes.plan.promising is not None,
        "concepts": [_concept(cause, causes, experiment, dissection) for cause in causes.causes],
    }


def effects_csv(document: Mapping[str, Any]) -> str:
    """Every unit with every concept: its effect alone, and what else ranks it."""
    columns = ("unit", "removed", "low", "high", "estimate", "iou", "share", "value")
    rows = (
        (each["concept"], *(unit[name] for name in columns)) for each in document["concepts"] for unit in each["unit"]
    )
    return _csv(("concept", *columns), rows)


def curves_csv(document: Mapping[str, Any]) -> str:
    """What the first units of every ranking do together."""
    columns = ("size", "removed", "removed_low", "removed_high", "ace", "ace_low", "ace_high")
    rows = (
        (each["concept"], name, *(_flat(point)[column] for column in columns))
        for each in document["concepts"]
        for name, curve in each["curves"].items()
        for point in curve["points"]
    )
    return _csv(("concept", "ranking", *columns), rows)


def context_csv(document: Mapping[str, Any]) -> str:
    """What became of insertions, by the concept that stood there."""
    columns = ("context", "ace", "ace_low", "ace_high", "gained", "gained_low", "gained_high", "insertions", "images")
    rows = (
        (each["concept"], *(_flat(row)[column] for column in columns))
        for each in document["concepts"]
        for row in each["context"]
    )
    return _csv(("concept", *columns), rows)


def acceptance_rows(acceptance: Acceptance, names: Sequence[str]) -> list[dict[str, Any]]:
    """The table of insertions by what stood there, where they have most effect first; what was hardly met is out."""
    rows = [
        {
            "context": name,
            "ace": acceptance.normalised(number).document(),
            "gained": acceptance.gained(number).document(),
            "insertions": acceptance.count(number),
            "images": int(acceptance.images[number]),
        }
        for number, name in enumerate(names)
        if acceptance.images[number] >= LEAST_IMAGES
    ]
    return sorted(rows, key=lambda row: -(row["ace"]["value"] or 0))


def survival_of(acceptance: Acceptance) -> dict[str, Any]:
    """By later layer, how much insertions that worked and those that were refused changed it, in shares of it."""
    layers = {
        name: {"worked": _known(groups[-2]), "refused": _known(groups[-1])}
        for name, groups in acceptance.survival().items()
    }
    return {"worked": acceptance.outcomes[0], "refused": acceptance.outcomes[1], "layers": layers}


def _concept(cause: Cause, causes: Causes, experiment: Experiment, dissection: Dissection | None) -> dict[str, Any]:
    names = experiment.source.concepts.names
    number, place = names.index(cause.concept), {unit: row for row, unit in enumerate(causes.units)}
    iou = None if dissection is None else dissection.scores.iou[:, dissection.concepts.number(cause.concept)]

    def unit_of(unit: int) -> dict[str, Any]:
        alone = causes.alone.ratio[place[unit], number].document() if unit in place else dict.fromkeys(ENDS)
        return {
            "unit": unit,
            "removed": alone["value"],
            "low": alone["low"],
            "high": alone["high"],
            "estimate": None if cause.estimate is None else _known(float(cause.estimate[unit])),
            "iou": None if iou is None else _known(float(iou[unit])),
            "share": None if cause.share is None else _known(float(cause.share[unit])),
            "value": _known(float(cause.values[unit])),
        }

    sums = causes.alone.sums[:, 0, number].tolist()
    return {
        "concept": cause.concept,
        "mean_pixels": sums[3] / sums[0],
        "set": list(cause.set),
        "ranking": cause.ranking,
        "unit": [unit_of(unit) for unit in range(experiment.units)],
        "curves": {
            name: {
                "units": list(curve.units),
                "effective_size": curve.size,
                "points": [
                    {"size": size, "removed": removed.document(), "ace": effect.document()}
                    for size, removed, effect in zip(curve.sizes, curve.removed, curve.effect, strict=True)
                ],
            }
            for name, curve in cause.curves.items()
        },
        "context": [] if cause.acceptance is None else acceptance_rows(cause.acceptance, names),
        "survival": None if cause.acceptance is None else survival_of(cause.acceptance),
    }


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Intervals as three entries, the first under the interval's own name."""
    found: dict[str, Any] = {}
    for name, entry in row.items():
        if isinstance(entry, Mapping):
            found |= {name: entry["value"], f"{name}_low": entry["low"], f"{name}_high": entry["high"]}
        else:
            found[name] = entry
    return found


def _known(number: float) -> float | None:
    """JSON knows no NaN and no infinity."""
    return float(number) if math.isfinite(number) else None


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([f"{cell:.6g}" if isinstance(cell, float | np.floating) else cell for cell in row] for row in rows)
    return buffer.getvalue()
