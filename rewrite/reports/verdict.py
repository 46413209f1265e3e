"""Efficacy and outside change, by the best measure available, and what the rules expect of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rewrite.reports.aims import Aim
from rewrite.reports.effect import Effect
from rewrite.reports.interval import Interval, mean_of
from rewrite.reports.places import Places, arrival
from rewrite.rules.rule import Rule


@dataclass(frozen=True)
class Verdict:
    """How much of what was wanted happened, and how much else.

    Attributes:
        kind: How both were measured: `concepts` (on unseen seeds), `places` (on the rules' own images: the share of
            the way to the pasted picture that the pixels under the marks went, and the share of pixels outside the
            marks that moved) or `colours` (without a rule: no efficacy, and the share of all pixels of unseen seeds
            that moved).
        efficacy: Share of the wanted change that happened.
        outside: Share of everything else that changed; by concepts, the lenient count. Expectations are held against
            it.
        strict: By concepts, the share of all pixels with nothing to replace that changed, those too that became what
            the rules want. None where no concepts were counted: colours that moved are one figure.
        by_rule: The efficacy of each rule, None where it could not be measured.
        protected: Of each rule, the share of the pixels of its protected regions whose colour moved, None where it has
            none or they could not be measured.
    """

    kind: str
    efficacy: Interval[float] | None
    outside: Interval[float]
    by_rule: tuple[Interval[float] | None, ...]
    strict: Interval[float] | None = None
    protected: tuple[Interval[float] | None, ...] = ()

    @classmethod
    def of(
        cls, rules: Sequence[Rule], aims: Mapping[int, Aim], effect: Effect, places: Mapping[int, Places]
    ) -> "Verdict":
        """Judge what was measured.

        Args:
            rules: The rules.
            aims: What they turn into what, by number; empty where nothing names the pixels.
            effect: What happened on unseen seeds.
            places: What happened on the rules' own images, by number.
        """
        by_rule = tuple(_efficacy(number, aims, effect, places) for number in range(len(rules)))
        protected = tuple(places[number].protected if number in places else None for number in range(len(rules)))
        if aims:
            assert effect.counts is not None
            counts = effect.counts
            outside, strict = counts.outside_change(), counts.strict_outside_change()
            return cls("concepts", counts.efficacy(), outside, by_rule, strict, protected)
        if places:
            efficacy = arrival([moved for found in places.values() for moved in found.moved])
            most = max((found.outside_moved for found in places.values()), key=lambda moved: moved.value)
            return cls("places", efficacy, most, by_rule, protected=protected)
        return cls("colours", None, mean_of(effect.movement.moved), by_rule, protected=protected)


@dataclass(frozen=True)
class Expectation:
    """What a rule expects of a measure, and what was found.

    Attributes:
        rule: The rule's name.
        measure: `efficacy` (at least `bound`), or `outside`, `strict` or `protected` (at most `bound`).
        bound: The least or the greatest value.
        found: The measured value, None where nothing could be measured.
    """

    rule: str
    measure: str
    bound: float
    found: float | None

    @property
    def side(self) -> str:
        """On which side of the bound the value is to lie, in words."""
        return "at least" if self.measure == "efficacy" else "at most"

    @property
    def met(self) -> bool:
        """Whether it holds; what could not be measured does not."""
        if self.found is None or np.isnan(self.found):
            return False
        return self.found >= self.bound if self.measure == "efficacy" else self.found <= self.bound

    def __str__(self) -> str:
        found = "could not be measured" if self.found is None or np.isnan(self.found) else f"is {self.found:.3f}"
        return f"rule {self.rule!r} expects {self.measure} of {self.side} {self.bound:g}: it {found}"


def expectations(rules: Sequence[Rule], verdict: Verdict) -> tuple[Expectation, ...]:
    """Every expectation of the rules with what was found."""
    found = []
    # Where colours stand for concepts, strict and lenient are one figure.
    shared = {"outside": verdict.outside, "strict": verdict.strict or verdict.outside}
    for rule, efficacy, protected in zip(rules, verdict.by_rule, verdict.protected, strict=True):
        measured = {**shared, "efficacy": efficacy, "protected": protected}
        for name, bound in sorted(rule.expect.items()):
            share = measured[name]
            found.append(Expectation(rule.name, name, bound, None if share is None else share.value))
    return tuple(found)


def _efficacy(
    number: int, aims: Mapping[int, Aim], effect: Effect, places: Mapping[int, Places]
) -> Interval[float] | None:
    if number in aims:
        assert effect.counts is not None
        return effect.counts.efficacy(list(aims).index(number))
    return places[number].arrives if number in places else None
