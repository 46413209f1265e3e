"""A dissection as plain numbers: what units.json and units.csv hold."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dissect.units.dissection import Dissection
from dissect.units.scores import DETECTOR_IOU, FALSE_DISCOVERIES, Scores

RUNNERS_UP = 5


def document_of(run: Mapping[str, Dissection], least: float = DETECTOR_IOU) -> dict[str, Any]:
    """All that is known of every unit, for programs: see `units_csv` for every pair of unit and concept."""
    first = next(iter(run.values()))
    tally, concepts = first.tally, first.concepts
    shown = np.maximum(tally.present.numpy()[np.array(concepts.kind_numbers)], 1)
    return {
        "identity": dict(first.identity),
        "images": int(tally.images),
        "numbers": [list(each) for each in first.numbers],
        "rule": {"iou": least, "false_discoveries": FALSE_DISCOVERIES},
        "concepts": [
            {
                "name": name,
                "category": category,
                "pixels": int(tally.labelled[number]),
                "images": int(tally.showing[number]),
                "share_of_images": float(tally.showing[number] / shown[number]),
            }
            for number, (name, category) in enumerate(zip(concepts.names, concepts.categories, strict=True))
        ],
        "layers": [layer_of(view, one, least) for view, one in run.items()],
    }


def as_json(document: Mapping[str, Any]) -> str:
    """A document as the text of a JSON file."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def layer_of(view: str, dissection: Dissection, least: float) -> dict[str, Any]:
    """One layer: its score, its concepts and its units."""
    scores = dissection.scores
    found, detects, sure = scores.detectors(least), scores.detects(least), scores.beyond_chance()
    informative = dissection.informative()
    return {
        "layer": view,
        "units": len(detects),
        "detectors": int(detects.sum()),
        "detectors_beyond_chance": int((detects & sure).sum()),
        "concepts_detected": len(found),
        "by_concept": found,
        "by_category": scores.by_category(least),
        # Their greatest values are equal: they agree with nothing at such a level, whatever they stand for.
        "far_fewer_lit": [] if dissection.far_fewer is None else dissection.far_fewer.nonzero()[:, 0].tolist(),
        "unit": [
            {
                "unit": unit,
                "level": _finite(dissection.levels[unit].item()),
                **_pair(scores, unit, int(scores.best[unit]), informative),
                "detects": bool(detects[unit]),
                "beyond_chance": bool(sure[unit]),
                "runners_up": [
                    _pair(scores, unit, int(concept), informative)
                    for concept in np.argsort(-scores.iou[unit], kind="stable")[1 : 1 + RUNNERS_UP]
                ],
                "top_images": [number for number in dissection.tops.numbers[unit].tolist() if number >= 0],
                "top_peaks": [peak for peak in dissection.tops.peaks[unit].tolist() if np.isfinite(peak)],
            }
            for unit in range(len(detects))
        ],
    }


def units_csv(run: Mapping[str, Dissection]) -> str:
    """Every unit with every concept, one line each."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = ["layer", "unit", "concept", "category", "iou", "low", "high", "ceiling", "chance", "q"]
    columns += ["level", "active_pixels", "concept_pixels", "shared_pixels"]
    informative = any(one.graded is not None for one in run.values())
    writer.writerow(columns + ["informative_level", "quality", "informative_iou"] * informative)
    for view, one in run.items():
        scores, concepts = one.scores, one.concepts
        kinds, levels = np.array(concepts.kind_numbers), one.levels.tolist()
        table = [scores.iou, scores.interval.low, scores.interval.high, scores.ceiling, scores.chance, scores.q]
        active, labelled, both = one.tally.active.numpy()[:, kinds], one.tally.labelled.numpy(), one.tally.both.numpy()
        more = one.informative() or ()
        for unit, level in enumerate(levels):
            for number, (name, category) in enumerate(zip(concepts.names, concepts.categories, strict=True)):
                numbers = [_short(each[unit, number]) for each in table]
                counts = [active[unit, number], labelled[number], both[unit, number]]
                extra = [_short(each[unit, number]) for each in more]
                writer.writerow([view, unit, name, category, *numbers, _short(level), *counts, *extra])
    return buffer.getvalue()


def _pair(scores: Scores, unit: int, concept: int, informative: Sequence[np.ndarray] | None) -> dict[str, Any]:
    names, place = scores.concepts, (unit, concept)
    found = {
        "concept": names.names[concept],
        "category": names.categories[concept],
        "iou": float(scores.iou[place]),
        "low": _finite(scores.interval.low[place]),
        "high": _finite(scores.interval.high[place]),
        "ceiling": float(scores.ceiling[place]),
        "chance": float(scores.chance[place]),
        "q": float(scores.q[place]),
    }
    if informative:
        level, quality, iou = (float(each[place]) for each in informative)
        found |= {"informative": {"level": _finite(level), "quality": quality, "iou": iou}}
    return found


def _finite(value: float) -> float | None:
    """JSON knows no NaN and no infinity."""
    return float(value) if np.isfinite(value) else None


def _short(value: float | np.floating) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
