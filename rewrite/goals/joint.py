"""Several rules as one goal, so that they are solved together and do not undo one another."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from rewrite.generators.contract import Generator
from rewrite.goals.cache import Goals
from rewrite.goals.goal import Goal
from rewrite.goals.keys import Keys
from rewrite.rules.rule import Rule
from rewrite.rules.settings import Settings


def joint_goal(generator: Generator, rules: Sequence[Rule], strengths: Sequence[float], goals: Goals) -> Goal:
    """What some rules of one layer want together, each at its strength."""
    shares = [strength * rule.settings.reach for rule, strength in zip(rules, strengths, strict=True)]
    return join([weaken(goals.of(generator, rule), share) for rule, share in zip(rules, shares, strict=True)])


def joint_settings(settings: Sequence[Settings], rank: int | None) -> Settings:
    """The settings of several rules, which must agree, except for those of one rule alone (such as its margin)."""
    first = settings[0] if rank is None else replace(settings[0], rank=rank)
    for name in (
        "damage",
        "drift",
        "quiet",
        "weights",
        "protect",
        "constraint",
        "steps",
        "finish",
        "descent",
        "still",
        "reach",
        "key_space",
        *(["rank"] if rank is None else []),
    ):
        values = [getattr(each, name) for each in settings]
        differing = [value for value in values if value != values[0]]
        if differing:
            raise ValueError(
                f"rules solved together must agree in their settings, got {name} {values[0]} and {differing[0]}"
            )
    return first


def checked_strengths(strengths: Sequence[float] | None, count: int) -> list[float]:
    """One finite strength for each rule; 1 if left out."""
    strengths = [1.0] * count if strengths is None else [float(strength) for strength in strengths]
    if len(strengths) != count:
        raise ValueError(f"each rule has one strength, got {count} rules and {len(strengths)} strengths")
    if not all(math.isfinite(strength) for strength in strengths):
        raise ValueError(f"strengths must be finite numbers, got {strengths}")
    return strengths


def weaken(goal: Goal, strength: float) -> Goal:
    """The goal of going only part of the way, or farther."""
    return replace(goal, targets=torch.lerp(goal.wanted.values, goal.targets, strength))


def join(goals: Sequence[Goal]) -> Goal:
    """One goal that holds the keys of several."""
    if len(goals) == 1:
        return goals[0]
    shifts = [sum(len(goal.styles) for goal in goals[:i]) for i in range(len(goals))]

    def joined(name: str) -> Keys:
        parts = [getattr(goal, name) for goal in goals]
        return Keys(
            torch.cat([part.keys for part in parts]),
            torch.cat([part.values for part in parts]),
            torch.cat([part.weights for part in parts]),
            torch.cat([part.image + shift for part, shift in zip(parts, shifts, strict=True)]),
            torch.cat([part.offsets for part in parts]),
            torch.cat([part.position for part in parts]),
        )

    return Goal(
        wanted=joined("wanted"),
        targets=torch.cat([goal.targets for goal in goals]),
        others=joined("others"),
        protected=joined("protected"),
        context=torch.cat([goal.context for goal in goals]),
        styles=torch.cat([goal.styles for goal in goals]),
        kept_units=tuple(sorted({unit for goal in goals for unit in goal.kept_units})),
    )
