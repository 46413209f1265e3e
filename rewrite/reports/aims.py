"""An edit counted by concept: what became of the pixels that a rule concerns, and of all others.

Each rule turns some concepts into its target. Of the pixels that showed one of these before, the share that shows the
target now is the *efficacy* (where a rule erases: the share that shows none of them any more). Of all other pixels, the
share whose concept changed is the *strict* outside change. The *lenient* one leaves out the pixels that became a
target, too: a tree that is drawn where a tower stood may be wider than the tower.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Integer

from rewrite.reports.concepts import Concepts
from rewrite.reports.interval import Interval, share_of
from rewrite.storage.quoting import quoted

CLEAR = 0.25
TOP_TRANSITIONS = 10
NOTHING = "nothing"

Labels = Integer[np.ndarray, "images layers height width"]
Pixels = Bool[np.ndarray, "images height width"]


@dataclass(frozen=True)
class Aim:
    """What a rule turns into what, as numbers of concepts.

    Attributes:
        name: The rule's name.
        replaced: The concepts that it turns into another.
        target: That other one, or None where the rule erases.
    """

    name: str
    replaced: tuple[int, ...]
    target: int | None

    @classmethod
    def of(cls, name: str, effect: Mapping[str, Any], concepts: Concepts) -> "Aim":
        """The aim that a rule's `effect` states by name.

        Args:
            name: The name of the rule.
            effect: Concepts that it turns into another: `from` a list, `to` a name or None.
            concepts: The names that the source knows.

        Raises:
            LookupError: There is no such concept; the message names the nearest.
            ValueError: The effect names no concept to replace.
        """
        replaced = tuple(concepts.number(concept) for concept in effect.get("from", ()))
        if not replaced:
            raise ValueError(f"the effect of rule {quoted(name)} must name at least one concept in from, got none")
        target = effect.get("to")
        return cls(name, replaced, None if target is None else concepts.number(target))

    def at(self, labels: Labels) -> Pixels:
        """Pixels that show what the rule replaces."""
        return np.any(np.isin(labels, self.replaced), axis=1)

    def region(self, before: Labels, after: Labels) -> Pixels:
        """Pixels that showed what the rule replaces, or became the target."""
        was = self.at(before)
        return was if self.target is None else was | (self._aimed(after) & ~self._aimed(before))

    def reached(self, before: Labels, after: Labels) -> Pixels:
        """Pixels that showed what the rule replaces and are what it wants now."""
        return self.at(before) & (~self.at(after) if self.target is None else self._aimed(after))

    def _aimed(self, labels: Labels) -> Pixels:
        return (labels == self.target).any(axis=1)


@dataclass(frozen=True)
class Counts:
    """Pixels counted by concept, for each image.

    Attributes:
        replaced: Pixels that showed what each aim replaces.
        reached: Those among them that are now what the aim wants.
        strict_outside: Pixels that showed nothing that any aim replaces.
        strict_changed: Those among them of which a concept changed.
        outside: Of the pixels of `strict_outside`, those that did not become a target: outside by the lenient count.
        changed: Those among them of which a concept changed.
        transitions: Of these last, how many went from which concept (row) to which (column), over all images; the last
            row and column stand for no concept.
    """

    replaced: Int64[np.ndarray, "aims images"]
    reached: Int64[np.ndarray, "aims images"]
    strict_outside: Int64[np.ndarray, " images"]
    strict_changed: Int64[np.ndarray, " images"]
    outside: Int64[np.ndarray, " images"]
    changed: Int64[np.ndarray, " images"]
    transitions: Int64[np.ndarray, "rows columns"]

    def __repr__(self) -> str:
        aims, images = self.reached.shape
        return f"<Counts of {images} images: aims={aims}, concepts={len(self.transitions)}>"

    def efficacy(self, aim: int | None = None) -> Interval[float]:
        """The share of an aim's pixels that was reached; of all aims together if none is named."""
        rows = slice(None) if aim is None else slice(aim, aim + 1)
        return share_of(self.reached[rows].sum(axis=0), self.replaced[rows].sum(axis=0))

    def strict_outside_change(self) -> Interval[float]:
        """The share of the pixels with nothing to replace whose concept changed."""
        return share_of(self.strict_changed, self.strict_outside)

    def outside_change(self) -> Interval[float]:
        """The lenient count: the same share, without the pixels that became a target."""
        return share_of(self.changed, self.outside)

    def clear(self) -> float:
        """Of the images with pixels to replace, those in which a quarter or more of them were reached; NaN of none."""
        wanted, reached = self.replaced.sum(axis=0), self.reached.sum(axis=0)
        return float(np.mean(reached[wanted > 0] >= CLEAR * wanted[wanted > 0])) if wanted.any() else float("nan")

    def top_transitions(self, concepts: Sequence[str]) -> list[dict[str, Any]]:
        """The most frequent lenient changes outside: from which concept to which, as shares of all such pixels."""
        flat, total, names = self.transitions.ravel(), int(self.outside.sum()), (*concepts, NOTHING)
        order = [number for number in np.argsort(-flat, kind="stable")[:TOP_TRANSITIONS].tolist() if flat[number]]
        pairs = [(*divmod(number, len(names)), float(flat[number]) / total) for number in order]
        return [{"from": names[row], "to": names[column], "share": share} for row, column, share in pairs]

    @classmethod
    def joined(cls, parts: Sequence["Counts"]) -> "Counts":
        """The counts of several batches of images as one."""
        return cls(
            replaced=np.concatenate([part.replaced for part in parts], axis=1),
            reached=np.concatenate([part.reached for part in parts], axis=1),
            **{
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in ("strict_outside", "strict_changed", "outside", "changed")
            },
            transitions=np.sum([part.transitions for part in parts], axis=0),
        )


def count_concepts(before: Labels, after: Labels, concepts: int, aims: Sequence[Aim]) -> Counts:
    """Compare label maps from before and after an edit.

    Args:
        before: Numbers of concepts, or -1 for none, as a `ConceptSource` gives them.
        after: The same of the edited images.
        concepts: How many concepts there are.
        aims: What the rules turn into what.
    """
    strict_outside = ~any_of([aim.at(before) for aim in aims], before)
    outside = ~all_regions(before, after, aims)
    moved = before != after
    changed = moved & outside[:, None]
    width = concepts + 1
    # No concept, which is -1, is counted last.
    pairs = before[changed].astype(np.int64) % width * width + after[changed] % width

    def counted(masks: list[np.ndarray]) -> np.ndarray:
        return np.array([mask.sum(axis=(1, 2)) for mask in masks], dtype=np.int64).reshape(len(masks), len(before))

    return Counts(
        replaced=counted([aim.at(before) for aim in aims]),
        reached=counted([aim.reached(before, after) for aim in aims]),
        strict_outside=strict_outside.sum(axis=(1, 2)),
        strict_changed=(moved.any(axis=1) & strict_outside).sum(axis=(1, 2)),
        outside=outside.sum(axis=(1, 2)),
        changed=changed.any(axis=1).sum(axis=(1, 2)),
        transitions=np.bincount(pairs, minlength=width**2).reshape(width, width),
    )


def all_regions(before: Labels, after: Labels, aims: Sequence[Aim]) -> Pixels:
    """The pixels that any aim concerns."""
    return any_of([aim.region(before, after) for aim in aims], before)


def any_of(masks: Sequence[Pixels], labels: Labels) -> Pixels:
    """The pixels that lie in any of some masks over images with such labels; none where there is no mask."""
    return np.any([np.zeros((len(labels), *labels.shape[2:]), dtype=bool), *masks], axis=0)
