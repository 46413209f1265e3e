"""What report.json holds: measurements as plain numbers and texts."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rewrite.patch import Patch
from rewrite.reports.effect import Effect, Movement, Places
from rewrite.reports.interval import mean_of
from rewrite.rules.rule import Rule


def patch_document(patch: Patch, strength: float) -> dict[str, Any]:
    """What a report says of one patch."""
    return {
        "layer": patch.layer,
        "rank": patch.rank,
        "strength": strength,
        "base": patch.base,
        "rules": [Rule.from_json(rule).name for rule in patch.rules],
        "forecast": dict(patch.forecast),
    }


def movement_document(movement: Movement) -> dict[str, float]:
    """Means over images."""
    return {name: mean_of(getattr(movement, name)).value for name in ("difference", "moved")}


def look_document(found: Effect | Places) -> dict[str, float | None]:
    """Means of LPIPS over images; None where it was not measured."""
    values = {"whole": found.look, "outside": found.look_outside}
    return {name: None if value is None else mean_of(value).value for name, value in values.items()}


def place_document(rule: Rule, found: Places) -> dict[str, Any]:
    """What a report says of the images that a rule was marked on."""
    return {
        "rule": rule.name,
        "images": found.images,
        "residual": found.residual,
        "inside": movement_document(found.inside),
        "outside": movement_document(found.outside),
        "lpips": look_document(found),
    }


def image_document(effect: Effect, number: int) -> dict[str, Any]:
    """What a report says of one image; what has no whole to be a share of is None."""
    moved, counts = effect.movement, effect.counts
    found = {"seed": effect.seeds[number], "difference": moved.difference[number], "moved": moved.moved[number]}
    if counts is not None:
        replaced, outside = counts.replaced[:, number].sum(), counts.outside[number]
        found["source_pixels"] = int(replaced)
        found["efficacy"] = counts.reached[:, number].sum() / replaced if replaced else None
        found["outside"] = counts.changed[number] / outside if outside else None
    if effect.look is not None:
        found["lpips"] = effect.look[number]
    return found


def plain(value: Any) -> Any:
    """Numbers of numpy as Python's own, with six digits; what is not finite as None."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
