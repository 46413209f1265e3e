"""An edit counted by concept: what became of the pixels that a rule concerns, and of all others.

Each rule turns its source concepts into its target. Of the pixels that showed a source before, the share that shows
the target now is the *efficacy* (where a rule erases: the share that shows no source any more). Of the pixels that
neither were a source before nor became a target, the share whose concept changed is the *outside* change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from rewrite.reports.interval import Interval, share_of

Labeller = Callable[[Tensor], UInt8[np.ndarray, "images height width"]]

CLEAR = 0.25
TOP_TRANSITIONS = 10
# Concepts that a message lists.
MOST_NAMED = 20


@dataclass(frozen=True)
class Aim:
    """What a rule turns into what, as numbers of concepts.

    Attributes:
        name: The rule's name.
        sources: The concepts that it turns into another.
        target: That other one, or None where the rule erases.
    """

    name: str
    sources: tuple[int, ...]
    target: int | None

    @classmethod
    def of(cls, name: str, effect: Mapping[str, Any], concepts: Sequence[str]) -> "Aim":
        """The aim that a rule's `effect` states by name.

        Raises:
            LookupError: There is no such concept; the message names the nearest.
            ValueError: The effect names no source.
        """
        sources = tuple(number_of(concept, concepts) for concept in effect.get("from", ()))
        if not sources:
            raise ValueError(f"the effect of rule {name!r} must name at least one concept in from, got none")
        target = effect.get("to")
        return cls(name, sources, None if target is None else number_of(target, concepts))

    def region(self, before: np.ndarray, after: np.ndarray) -> Bool[np.ndarray, "images height width"]:
        """Pixels that were a source before, or became the target."""
        was = np.isin(before, self.sources)
        return was if self.target is None else was | ((after == self.target) & (before != self.target))

    def reached(self, before: np.ndarray, after: np.ndarray) -> Bool[np.ndarray, "images height width"]:
        """Pixels that were a source before and are what the rule wants now."""
        got = ~np.isin(after, self.sources) if self.target is None else after == self.target
        return np.isin(before, self.sources) & got


@dataclass(frozen=True)
class Counts:
    """Pixels counted by concept, for each image.

    Attributes:
        source: Pixels that showed a source of each aim before.
        reached: Those among them that are now what the aim wants.
        outside: Pixels outside the regions of all aims.
        changed: Those among them whose concept changed.
        transitions: Of these, how many went from which concept (row) to which (column), over all images.
    """

    source: Int64[np.ndarray, "aims images"]
    reached: Int64[np.ndarray, "aims images"]
    outside: Int64[np.ndarray, " images"]
    changed: Int64[np.ndarray, " images"]
    transitions: Int64[np.ndarray, "concepts concepts"]

    def efficacy(self, aim: int | None = None) -> Interval[float]:
        """The share of an aim's source pixels that was reached; of all aims together if none is named."""
        rows = slice(None) if aim is None else slice(aim, aim + 1)
        return share_of(self.reached[rows].sum(axis=0), self.source[rows].sum(axis=0))

    def outside_change(self) -> Interval[float]:
        """The share of the outside pixels whose concept changed."""
        return share_of(self.changed, self.outside)

    def clear(self) -> float:
        """The share of images with source pixels in which a quarter of these or more were reached; NaN without any."""
        source, reached = self.source.sum(axis=0), self.reached.sum(axis=0)
        return float(np.mean(reached[source > 0] >= CLEAR * source[source > 0])) if source.any() else float("nan")

    def top_transitions(self, concepts: Sequence[str]) -> list[dict[str, Any]]:
        """The most frequent changes outside: from which concept to which, and their share of all outside pixels."""
        flat, total = self.transitions.ravel(), int(self.outside.sum())
        order = [number for number in np.argsort(-flat, kind="stable")[:TOP_TRANSITIONS].tolist() if flat[number]]
        pairs = [(*divmod(number, len(concepts)), float(flat[number]) / total) for number in order]
        return [{"from": concepts[row], "to": concepts[column], "share": share} for row, column, share in pairs]

    @classmethod
    def joined(cls, parts: Sequence["Counts"]) -> "Counts":
        """The counts of several batches of images as one."""
        return cls(
            source=np.concatenate([part.source for part in parts], axis=1),
            reached=np.concatenate([part.reached for part in parts], axis=1),
            outside=np.concatenate([part.outside for part in parts]),
            changed=np.concatenate([part.changed for part in parts]),
            transitions=np.sum([part.transitions for part in parts], axis=0),
        )


def count_concepts(
    before: UInt8[np.ndarray, "images height width"],
    after: UInt8[np.ndarray, "images height width"],
    classes: int,
    aims: Sequence[Aim],
) -> Counts:
    """Compare maps of concepts from before and after an edit."""
    changed = (before != after) & ~all_regions(before, after, aims)
    pairs = before[changed].astype(np.int64) * classes + after[changed]

    def counted(masks: list[np.ndarray]) -> np.ndarray:
        return np.array([mask.sum(axis=(1, 2)) for mask in masks], dtype=np.int64).reshape(len(masks), len(before))

    return Counts(
        source=counted([np.isin(before, aim.sources) for aim in aims]),
        reached=counted([aim.reached(before, after) for aim in aims]),
        outside=(~all_regions(before, after, aims)).sum(axis=(1, 2)),
        changed=changed.sum(axis=(1, 2)),
        transitions=np.bincount(pairs, minlength=classes**2).reshape(classes, classes),
    )


def all_regions(
    before: UInt8[np.ndarray, "images height width"],
    after: UInt8[np.ndarray, "images height width"],
    aims: Sequence[Aim],
) -> Bool[np.ndarray, "images height width"]:
    """The pixels that any aim concerns."""
    region = np.zeros(before.shape, dtype=bool)
    for aim in aims:
        region |= aim.region(before, after)
    return region


def number_of(concept: str, concepts: Sequence[str]) -> int:
    """The number of a concept.

    Raises:
        LookupError: There is no such concept; the message names the nearest.
    """
    if concept in concepts:
        return list(concepts).index(concept)
    near = get_close_matches(concept, concepts, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(concepts[:MOST_NAMED])}"
    hint += ", …" if not near and len(concepts) > MOST_NAMED else ""
    raise LookupError(f"the labeller has no concept {concept!r}: {hint}")
