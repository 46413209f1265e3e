"""Dissections as the commands take them: a file, or the one that comes with a model."""

from collections.abc import Sequence
from pathlib import Path

from dissect.causes.brush import best_units
from dissect.concept_rule import units_of
from dissect.units.dissection import BUILT_IN, Dissection, load_dissections
from rewrite.storage.quoting import named


def dissection_for(path: Path | None, layer: str, model: str) -> Dissection:
    """The dissection of a layer.

    Args:
        path: A file that `rewrite units` wrote; if left out, a built-in one of the model.
        layer: Name of the layer.
        model: Fingerprint of the generator.

    Raises:
        FileNotFoundError: There is no such file.
        LookupError: It holds no such layer.
        ValueError: It is of another model, or none is named and none comes with the model.
    """
    found = load_dissections(path) if path else _built_in(model)
    if layer not in found:
        file, hint = (path, "") if path else ("what comes with the model", ": name a file with --dissection")
        raise LookupError(f"{file} holds no dissection of layer {layer}, but of {named(', '.join(found))}{hint}")
    known = found[layer].identity.get("model")
    if known != model:
        raise ValueError(f"{path} is a dissection of model {named(known)}, not of model {model}")
    return found[layer]


def resolved_units(
    entries: Sequence[str], path: Path | None, layer: str, model: str, count: int | None = None
) -> tuple[int, ...]:
    """Units by number, or by the concept that they detect in a dissection.

    Args:
        entries: Numbers and concepts.
        path: The dissection; see `dissection_for`.
        layer: Name of the layer.
        model: Fingerprint of the generator.
        count: Only so many units of each concept, those that agree best first; all that detect it if left out.

    Raises:
        FileNotFoundError, LookupError, ValueError: As `dissection_for`; or the dissection knows no such concept.
    """
    numbers = [int(entry) for entry in entries if entry.isdecimal()]
    concepts = [entry for entry in entries if not entry.isdecimal()]
    if not concepts:
        return tuple(numbers)
    found = dissection_for(path, layer, model)
    of = [units_of(found, each) if count is None else best_units(found, each, count) for each in concepts]
    return tuple(dict.fromkeys([*numbers, *(unit for units in of for unit in units)]))


def _built_in(model: str) -> dict[str, Dissection]:
    for name in BUILT_IN:
        found = load_dissections(name)
        if all(one.identity.get("model") == model for one in found.values()):
            return found
    raise ValueError("concepts have units where a dissection says so: name the file of one with --dissection")
