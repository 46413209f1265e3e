"""Adversarial pictures as plain numbers: what adversarial.json holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from dissect.adversarial.attack import Attack
from dissect.adversarial.confusion import Confusion
from rewrite.classifiers.classifier import Classifier
from rewrite.reports.interval import counted


def document_of(
    found: Confusion,
    classifier: Classifier,
    part: str,
    attack: Attack,
    best: Mapping[int, Sequence[int]],
    pictures: str,
) -> dict[str, Any]:
    """All that is known, for programs.

    Args:
        found: What the attack did.
        classifier: To what.
        part: Path of the part that units are of.
        attack: How pictures were attacked.
        best: The units that matter most for each class, by its number.
        pictures: The identity of the pictures.
    """
    right = found.before == found.truth
    return {
        "model": classifier.fingerprint,
        "part": part,
        "units": found.peaks.shape[1],
        "pictures": pictures,
        "attack": {"method": attack.method, "norm": attack.norm, "radius": attack.radius, "steps": attack.steps},
        "targeted": bool((found.aim >= 0).all()),
        "attacked": len(found.numbers),
        "right_before": _share(right),
        "right_after": _share(found.after == found.truth),
        "reached": _share(found.reached[right]),
        "moved": {group: interval.document() for group, interval in found.moved(best).items()},
        "classes": [_class(found, classifier, number, units) for number, units in best.items()],
    }


def _share(which: Bool[Tensor, " pictures"]) -> dict[str, float | None]:
    return counted(int(which.sum()), max(len(which), 1)).document()


def _class(found: Confusion, classifier: Classifier, number: int, units: Sequence[int]) -> dict[str, Any]:
    """A class whose pictures were attacked, and at which others were aimed: the mean peaks of its best units."""
    row: dict[str, Any] = {"class": classifier.classes[number], "units": list(units)}
    for role, which in (("true", found.truth == number), ("target", found.target == number)):
        reached = which & found.reached
        peaks = {
            when: maps[reached][:, list(units)].double().mean(dim=0).tolist() if reached.any() else None
            for when, maps in (("before", found.peaks), ("after", found.peaks_after))
        }
        row[role] = {
            "pictures": int((which & (found.before == found.truth)).sum()),
            "reached": int(reached.sum()),
            **peaks,
        }
    return row
