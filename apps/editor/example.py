"""The example of the first minute: a few of the marks of a rule that comes with the library."""

from dataclasses import dataclass
from functools import cache

from apps.editor.marks import Mark, marks_of
from apps.editor.model import Model
from rewrite import Rule
from rewrite.rules import BUILT_IN

TITLE, RULE, IMAGES = "trees on towers", "tree-on-towers", 6


@dataclass(frozen=True)
class Example:
    """Marks that make a rule, for the wall of the built-in generator.

    Attributes:
        marks: One copy, and every place in a few images.
        seeds: The images with marks.
    """

    marks: tuple[Mark, ...]
    seeds: tuple[int, ...]


def example_of(model: Model) -> Example | None:
    """The example for a model; None where there is none."""
    rule = _rule()
    if rule.model != model.fingerprint:
        return None
    seeds = tuple(dict.fromkeys(place.latent.seed for place in rule.context))[:IMAGES]
    kept = marks_of(rule, max(model.generator.size)) or ()
    copied = next(mark.seed for mark in kept if mark.role == "copy" and mark.seed in seeds)
    marks = tuple(mark for mark in kept if mark.seed in seeds and (mark.role != "copy" or mark.seed == copied))
    return Example(marks, seeds)


@cache
def _rule() -> Rule:
    return Rule.load(BUILT_IN[RULE])
