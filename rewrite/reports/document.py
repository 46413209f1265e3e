"""What report.json holds: measurements as plain numbers and texts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rewrite.generators.fingerprint import hash_of
from rewrite.goals.pasted import Moved
from rewrite.patch import Patch
from rewrite.reports.effect import Effect, Movement
from rewrite.reports.interval import Interval, mean_of
from rewrite.reports.places import Places
from rewrite.reports.verdict import Verdict
from rewrite.rules.rule import Rule


def patch_document(patch: Patch, strength: float, rules: Sequence[str] | None = None) -> dict[str, Any]:
    """What a report says of one patch.

    Args:
        patch: The patch.
        strength: Its factor.
        rules: The names of its rules, where these are of another kind than those of generators.
    """
    return {
        "layer": patch.layer,
        "rank": patch.rank,
        "strength": strength,
        "base": patch.base,
        "rules": [Rule.from_json(rule).name for rule in patch.rules] if rules is None else list(rules),
        "forecast": dict(patch.forecast),
    }


def patch_hash(patch: Patch) -> str:
    """What tells the numbers of one patch from those of another."""
    named = {"left": patch.left, "right": patch.right, "bias": patch.bias}
    return hash_of({name: each for name, each in named.items() if each is not None})


def movement_document(movement: Movement) -> dict[str, float]:
    """Means over images."""
    return {name: mean_of(getattr(movement, name)).value for name in ("difference", "moved")}


def look_document(found: Effect | Places) -> dict[str, float | None]:
    """Means of LPIPS over images; None where it was not measured."""
    values = {"whole": found.look, "outside": found.look_outside}
    return {name: None if value is None else mean_of(value).value for name, value in values.items()}


def outside_document(verdict: Verdict) -> dict[str, float | list[float] | None]:
    """The figures of what changed outside: the one that expectations are held against, then strict and lenient.

    Where no concepts were counted, the one is all there is.
    """
    lenient = None if verdict.strict is None else verdict.outside
    found = {"outside": verdict.outside, "outside_strict": verdict.strict, "outside_lenient": lenient}
    document: dict[str, float | list[float] | None] = {}
    for name, share in found.items():
        document |= {name: None if share is None else share.value, f"{name}_interval": ends(share)}
    return document


def ends(found: Interval[float] | None) -> list[float] | None:
    """The ends of the interval of a number that may not be known."""
    return None if found is None else [found.low, found.high]


def place_document(rule: Rule, found: Places) -> dict[str, Any]:
    """What a report says of the images that a rule was marked on."""
    return {
        "rule": rule.name,
        "images": found.images,
        "arrives": found.arrives.value,
        "arrives_interval": ends(found.arrives),
        "strays": Moved.together(found.moved).strays,
        "residual": found.residual,
        "protected": None if found.protected is None else found.protected.value,
        "inside": movement_document(found.inside),
        "outside": movement_document(found.outside),
        "lpips": look_document(found),
    }


def image_document(effect: Effect, number: int) -> dict[str, Any]:
    """What a report says of one image; what has no whole to be a share of is None."""
    moved, counts = effect.movement, effect.counts
    name = "seed" if effect.drawn_from == "seed" else "latent"
    found = {name: effect.seeds[number], "difference": moved.difference[number], "moved": moved.moved[number]}
    if counts is not None:
        replaced = counts.replaced[:, number].sum()
        found["source_pixels"] = int(replaced)
        found["efficacy"] = _share(counts.reached[:, number].sum(), replaced)
        found["outside"] = _share(counts.changed[number], counts.outside[number])
        if len(counts.replaced):
            found["outside_strict"] = _share(counts.strict_changed[number], counts.strict_outside[number])
            found["outside_lenient"] = found["outside"]
    if effect.look is not None:
        found["lpips"] = effect.look[number]
    return found


def _share(part: np.integer, whole: np.integer) -> float | None:
    return float(part / whole) if whole else None


def plain(value: Any) -> Any:
    """Numbers of numpy as Python's own, with six digits; what is not finite as None."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
