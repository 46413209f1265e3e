"""A rule of a classifier becomes a patch, by the same constrained least squares as a rule of a generator."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.goals import goal_of
from rewrite.classifiers.rule import ClassifierRule, images_of
from rewrite.generators.cut import Cut
from rewrite.memory import Memory
from rewrite.patch import Patch, base_of
from rewrite.rules.settings import Settings
from rewrite.solvers.choice import DAMAGE, DRIFTS, OTHERS, energy_unit
from rewrite.solvers.closed_form import ClosedForm
from rewrite.solvers.leave_out import Refits, folds_of, worth_of
from rewrite.solvers.problem import Problem

# Lighter than those of generators too: a confounder that fills the picture asks for a change of many directions.
LIGHT_DRIFTS = (0.003, 0.01, 0.03)
# With fewer pairs than this none can be left out, and a careful weight is taken.
LEAST_PAIRS, CAREFUL = 3, 1.0


@dataclass(frozen=True)
class Judged:
    """What solutions do to the scores of pairs that they were not solved on.

    Attributes:
        arrives: Share of the way to the scores of the wanted pictures that the scores went, along that way.
        strays: Change of the scores of the wanted pictures themselves, as a share of the same way.
        right: Share of the pairs whose class is that of the wanted picture.
    """

    arrives: float
    strays: float
    right: float

    @property
    def worth(self) -> float:
        """What arrives for what changes beside it; first of all whether the class is the wanted one."""
        return self.right + worth_of(min(self.arrives, 1.0), self.strays) / 1000


def solve_pictures(classifier: Classifier, memory: Memory, rule: ClassifierRule, *, rank: int | None = None) -> Patch:
    """Solve a rule of a classifier.

    Args:
        classifier: The classifier that the rule was written on.
        memory: The second moment of the rule's layer over ordinary pictures.
        rule: The rule.
        rank: Number of directions; what the rule's settings say if left out.

    Returns:
        The patch, which says in its forecast what to expect of it.

    Raises:
        LookupError: The classifier has no such layer.
        ValueError: Rule, memory and classifier do not belong together, or the rank is out of range.
    """
    layer = classifier.layer(rule.layer)
    if (memory.layer, memory.model) != (rule.layer, classifier.fingerprint):
        raise ValueError(
            f"this memory was measured on layer {memory.layer} of model {memory.model}, not on layer {rule.layer} of "
            f"model {classifier.fingerprint}"
        )
    if rank is not None:
        rule = replace(rule, settings=replace(rule.settings, rank=rank))
    chosen, tried = rule.settings.weights == "marks", {}
    problem = Problem.of(classifier, memory, goal_of(classifier, rule), rule.settings)
    if chosen:
        tried = candidates(problem)
        judged = judge(classifier, rule, problem, list(tried.values()))
        best = max(judged, key=lambda number: judged[number].worth) if judged else _careful(list(tried))
        rule = replace(rule, settings=list(tried.values())[best])
        problem = Problem.of(classifier, memory, goal_of(classifier, rule), rule.settings)
        more = {"left_out": asdict(judged[best]) if judged else None}
    else:
        more = {}
    solution = ClosedForm(problem).solve()
    return Patch.from_change(
        layer,
        solution.change,
        base=base_of(classifier.weight(layer.name)),
        model=classifier.fingerprint,
        rules=(rule.to_json(),),
        forecast={**solution.forecast(), **more},
    )


def candidates(problem: Problem) -> dict[tuple[float, float], Settings]:
    """Settings that are tried, by the drift in units of the layer's energy and by the weight of what is to stay."""
    unit = energy_unit(problem)
    return {
        (drift, others): replace(problem.settings, weights="given", damage=DAMAGE, drift=drift * unit, others=others)
        for others in OTHERS
        for drift in (*LIGHT_DRIFTS, *DRIFTS)
    }


@torch.no_grad()
def judge(
    classifier: Classifier, rule: ClassifierRule, problem: Problem, tried: Sequence[Settings]
) -> Mapping[int, Judged]:
    """What each of some settings does to pairs that it was not solved on, by the place of the settings.

    Nothing where there are too few pairs to leave one out.
    """
    folds = folds_of(problem, len(rule.keys))
    if len(folds) < LEAST_PAIRS:
        return {}
    shown = [_Shown.of(classifier, rule, fold) for fold in folds]
    moved: dict[int, list[Tensor]] = {number: [] for number in range(len(tried))}
    for fold, number, change in Refits(problem, folds).solutions(tried):
        moved[number].append(shown[folds.index(fold)].moved(classifier, problem, change))
    return {number: _together(torch.cat(parts)) for number, parts in moved.items()}


@dataclass(frozen=True)
class _Shown:
    """Pairs that are left out, up to the layer, with their scores."""

    cut: Cut
    pairs: int
    wanted: Tensor
    first: Tensor

    @classmethod
    def of(cls, classifier: Classifier, rule: ClassifierRule, fold: Sequence[int]) -> "_Shown":
        images = torch.cat([images_of(rule.keys[list(fold)]), images_of(rule.values[list(fold)])])
        cut = classifier.cut(rule.layer, images)
        scores = classifier.rerun(rule.layer, cut).double().cpu()
        return cls(cut, len(fold), scores[len(fold) :], scores[: len(fold)])

    def moved(self, classifier: Classifier, problem: Problem, change: Tensor) -> Tensor:
        """For each pair: its part of the wanted way, all of it, how far the wanted picture strays, and its class."""
        layer, cut = problem.layer, self.cut
        weight = classifier.weight(layer.name)
        edited = weight + layer.weight_from(change).to(weight)
        scores = classifier.resume(layer.name, cut, layer.apply(cut.features, edited)).double().cpu()
        now, kept = scores[: self.pairs], scores[self.pairs :]
        way = self.wanted - self.first
        right = now.argmax(dim=1) == self.wanted.argmax(dim=1)
        sums = ((now - self.first) * way).sum(dim=1), way.square().sum(dim=1), (kept - self.wanted).square().sum(dim=1)
        return torch.stack([*sums, right.double()], dim=1)


def _together(moved: Tensor) -> Judged:
    along, whole, stray, right = moved.unbind(dim=1)
    total = whole.sum().clamp(min=1e-300)
    return Judged(float(along.sum() / total), float((stray.sum() / total).sqrt()), float(right.mean()))


def _careful(tried: Sequence[tuple[float, float]]) -> int:
    return list(tried).index((CAREFUL, OTHERS[0]))
