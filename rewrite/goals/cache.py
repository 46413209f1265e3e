"""The goals that were built last."""

from dataclasses import replace

import torch

from rewrite.generators.contract import Generator
from rewrite.goals.goal import Goal, build_goal
from rewrite.goals.keys import Keys
from rewrite.goals.unedited import Unedited
from rewrite.rules.rule import Rule, Settings

KEPT = 8


class Goals:
    """The goals that were built last, for solving a rule and then measuring it, or solving it again.

    Refining takes most of a rule's time, and depends on the marks and the generator, not on the solver's settings. A
    goal is reused only for the same generator with the same weights and settings, and the same marks; the weight of
    its hard negatives is a setting of the solver.
    """

    def __init__(self, most: int = KEPT):
        self.most = most
        self._kept: dict[tuple, Goal] = {}
        self._unedited: dict[tuple, Unedited] = {}

    def __repr__(self) -> str:
        return f"<Goals: kept={len(self._kept)}, most={self.most}>"

    def of(self, generator: Generator, rule: Rule) -> Goal:
        """The result of `build_goal`, or that of an earlier call; it raises the same errors."""
        settings = rule.settings
        given = Settings(others=float(settings.others > 0), margin=settings.margin, refine=settings.refine)
        marks = replace(rule, name="", effect={}, expect={}, settings=given).to_json()
        key = (*_state_of(generator), marks)
        goal = self._kept.pop(key, None) or build_goal(generator, rule, self.unedited(generator))
        self._kept[key] = goal
        while len(self._kept) > self.most:
            del self._kept[next(iter(self._kept))]
        return replace(goal, others=_weighed(goal.others, settings.others))

    def unedited(self, generator: Generator) -> Unedited:
        """Pictures of the generator as it is now."""
        state = _state_of(generator)
        if state not in self._unedited:
            self._unedited = {state: Unedited(generator)}
        return self._unedited[state]


def _state_of(generator: Generator) -> tuple:
    """What a picture depends on beside its latent: the weights and plain settings (truncation, noise, class)."""
    plain = [(name, value) for name, value in vars(generator).items() if isinstance(value, str | int | float)]
    return (generator, generator.fingerprint, *sorted(plain))


def _weighed(keys: Keys, total: float) -> Keys:
    """The same keys, all of one weight, with weights that add up to `total`."""
    return replace(keys, weights=torch.full_like(keys.weights, total / max(1, len(keys))))
