"""Settings from the marks: weights that are chosen by what would arrive in marked images that had not been marked.

Weights are relative to the layer's own energy, so that one value means the same on every network: a drift of 1 charges
a change in every direction what ordinary keys charge for it in theirs, on average.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from rewrite.rules.rule import CHOSEN, Rule, Settings
from rewrite.solvers.leave_out import LeftOut, folds_of, left_out
from rewrite.solvers.problem import Problem

DAMAGE, OTHERS, QUIET = 3e-4, 10.0, 30.0
DRIFTS = (0.1, 0.3, 1.0, 3.0, 10.0)
# With fewer images than this none can be left out, and careful weights are taken.
LEAST_IMAGES, CAREFUL = 3, 3.0


@dataclass(frozen=True)
class Choice:
    """Settings, and how they came to be chosen.

    Attributes:
        settings: What was chosen, with every weight given.
        drift: The chosen drift, in units of the layer's energy.
        tried: What each drift does in images that are left out, from bold to careful; empty where there are too few
            images to leave one out, and a careful prior was taken.
    """

    settings: Settings
    drift: float
    tried: Mapping[float, LeftOut]

    @property
    def left_out(self) -> LeftOut | None:
        """What the chosen settings do in images that are left out."""
        return self.tried.get(self.drift)

    def forecast(self) -> dict[str, Any]:
        """What is expected at places that nobody marked, for a patch's forecast."""
        found = self.left_out
        return {"left_out": None if found is None else {**asdict(found), "each": list(found.each)}}


def posed(rule: Rule) -> Rule:
    """A rule whose hard negatives weigh what they do in every choice, where its marks are to choose the weights."""
    return rule.with_settings(others=OTHERS, weights="marks") if rule.settings.weights == "marks" else rule


def settled(rule: Rule, choice: "Choice | None") -> Rule:
    """The rule with the weights that were chosen, so that it replays."""
    if choice is None:
        return rule
    return rule.with_settings(**{name: getattr(choice.settings, name) for name in CHOSEN})


def prior(problem: Problem) -> Settings:
    """The weights that the candidates are judged from."""
    return with_drift(problem.settings, 1.0, energy_unit(problem))


def energy_unit(problem: Problem) -> float:
    """The drift at which a change costs in every direction what ordinary keys make it cost on average."""
    return float(problem.moment.trace() / problem.style_row.sum())


def with_drift(settings: Settings, drift: float, unit: float) -> Settings:
    """The same settings with weights that are given: those of a drift in units of the layer's energy."""
    return replace(settings, weights="given", damage=DAMAGE, drift=drift * unit, others=OTHERS, quiet=QUIET)


def choose(problem: Problem) -> Choice:
    """Choose the weights of a problem, whose hard negatives should hold its quiet places already."""
    unit = energy_unit(problem)
    found = {drift: with_drift(problem.settings, drift, unit) for drift in DRIFTS}
    folds = folds_of(problem)
    if len(folds) < LEAST_IMAGES:
        return Choice(found[CAREFUL], CAREFUL, {})
    tried = dict(zip(found, left_out(problem, list(found.values()), folds), strict=True))
    best = max(tried, key=lambda drift: tried[drift].worth)
    return Choice(found[best], best, tried)
