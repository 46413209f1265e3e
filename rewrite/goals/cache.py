"""The goals that were built last."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer
from rewrite.goals.goal import Goal, build_goal
from rewrite.goals.keys import Keys
from rewrite.goals.quiet import IMAGES, Quiet, ordinary_cuts
from rewrite.goals.unedited import Unedited
from rewrite.memory import Memory
from rewrite.rules.rule import Rule
from rewrite.rules.settings import Settings

# Pictures are kept of the network and of its sketch.
KEPT, KEPT_PICTURES = 8, 2
# Ordinary images run up to one layer are kept where their maps take no more bytes than this.
MOST_BYTES = 2**28

Kept = TypeVar("Kept")


class Goals:
    """The goals that were built last, for solving a rule and then measuring it, or solving it again.

    Refining takes most of a rule's time, and depends on the marks and the generator, not on the solver's settings. A
    goal is reused only for the same generator with the same weights and settings, and the same marks; the weight of
    its hard negatives is a setting of the solver. So it is with quiet places, of the same memory.
    """

    def __init__(self, most: int = KEPT):
        self.most = most
        self._kept: dict[Hashable, Goal] = {}
        self._quiet: dict[Hashable, tuple[Memory, Quiet]] = {}
        self._unedited: dict[Hashable, Unedited] = {}
        self._cuts: dict[Hashable, list[Cut]] = {}

    def __repr__(self) -> str:
        return f"<Goals: kept={len(self._kept)}, most={self.most}>"

    def of(self, generator: Generator, rule: Rule) -> Goal:
        """The result of `build_goal`, or that of an earlier call; it raises the same errors."""
        settings, key = rule.settings, (*_state_of(generator), _marks_of(rule, rule.settings.refine))
        goal = _last(self._kept, key, lambda: build_goal(generator, rule, self.unedited), self.most)
        return replace(goal, others=_weighed(goal.others, settings.others))

    def quiet(
        self,
        generator: Generator,
        memory: Memory,
        rules: Sequence[Rule],
        strengths: Sequence[float],
        find: Callable[[], Quiet],
    ) -> Quiet:
        """The quiet places of some rules together, found by `find` unless they were before."""
        key = (*_state_of(generator), tuple(strengths), *(_marks_of(rule, 0) for rule in rules))
        if key in self._quiet and self._quiet[key][0] is not memory:
            del self._quiet[key]
        return _last(self._quiet, key, lambda: (memory, find()), self.most)[1]

    def ordinary_cuts(self, generator: Generator, layer: Layer) -> Iterable[Cut]:
        """Ordinary images, run up to a layer; those of the last layer are kept, if they are not too large."""
        key = (*_state_of(generator), layer.name)
        if IMAGES * layer.inputs * layer.grid[0] * layer.grid[1] * generator.dtype.itemsize > MOST_BYTES:
            return ordinary_cuts(generator, layer)
        return _last(self._cuts, key, lambda: list(ordinary_cuts(generator, layer)), 1)

    def unedited(self, generator: Generator) -> Unedited:
        """Pictures of the generator as it is now."""
        return _last(self._unedited, _state_of(generator), lambda: Unedited(generator), KEPT_PICTURES)


def _last(kept: dict[Hashable, Kept], key: Hashable, make: Callable[[], Kept], most: int) -> Kept:
    """The item of a key, which is kept as the last of so many."""
    item = kept.pop(key) if key in kept else make()
    kept[key] = item
    while len(kept) > most:
        del kept[next(iter(kept))]
    return item


def _marks_of(rule: Rule, refine: int) -> str:
    """What a goal depends on beside the generator."""
    given = Settings(others=float(rule.settings.others > 0), margin=rule.settings.margin, refine=refine)
    return replace(rule, name="", effect={}, expect={}, settings=given).to_json()


def _state_of(generator: Generator) -> tuple:
    """What a picture depends on beside its latent: the weights and plain settings (truncation, noise, class)."""
    plain = [(name, value) for name, value in vars(generator).items() if isinstance(value, str | int | float)]
    return (generator, generator.fingerprint, *sorted(plain))


def _weighed(keys: Keys, total: float) -> Keys:
    """The same keys, all of one weight, with weights that add up to `total`."""
    return replace(keys, weights=torch.full_like(keys.weights, total / max(1, len(keys))))
