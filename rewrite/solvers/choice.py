"""Settings from the marks: weights that are chosen by what would arrive in marked images that had not been marked.

Weights are relative to the layer's own energy, so that one value means the same on every network: a drift of 1 charges
a change in every direction what ordinary keys charge for it in theirs, on average.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rewrite.generators.contract import Generator
from rewrite.goals.pasted import Pasted
from rewrite.progress import counted
from rewrite.rules.rule import Rule
from rewrite.rules.settings import CHOSEN, Settings
from rewrite.solvers.descent import FEW_STEPS
from rewrite.solvers.drawn import Drawn, descend_left_out, draw_left_out, is_large
from rewrite.solvers.effort import is_affordable
from rewrite.solvers.leave_out import LeftOut, Refits, folds_of, left_out
from rewrite.solvers.problem import Problem

DAMAGE = 3e-4
DRIFTS = (0.1, 0.3, 1.0, 3.0)
# Hard negatives of the marked images, and quiet places of others: where a layer has few cells, what is beside the marks
# resembles them, and a heavy weight forbids the edit itself. The light one must be worth more by some margin: what it
# changes in images without marks is not seen in those with marks.
OTHERS, QUIET_PER_OTHERS, MARGIN = (10.0, 1.0), 3.0, 1.1
# Heavier ones change less beside for what arrives, but hold more of it back: they are tried with a reach that makes up
# for that, and taken where clearly less changes at about as much arrival.
HEAVIER, MOST_MORE, CLEARLY, ABOUT = (100.0, 30.0), 1.5, 0.95, 0.9
# Whether a finish helps shows after few steps. On larger images it takes longer than all else together: there it is
# tried in fewer and on fewer parts of the images, and only where the trial and the finish can be afforded.
TRIED_STEPS, TRIED_LARGE, PARTS_LARGE = 10, 5, 2
# Three long steps bring as much as ten short ones, and change a little more beside.
MOST_LARGE_STEPS = 3
# A descent takes as long as all else together: it is tried on two parts of the images in few steps, and where images
# are large only within the same operations. In few steps more strays than in many, and by the concepts that pictures
# show it does better than their pixels say: so it need not be worth as much as the closed form. Marks that cover less
# of their images than this are small in what it lowers, and it is not tried.
DESCENT_PARTS, AS_GOOD, LEAST_AREA = 2, 0.8, 0.015
# With fewer images than this none can be left out, and careful weights are taken.
LEAST_IMAGES, CAREFUL = 3, 3.0
# What does less than this share of what another choice does before a finish is not ahead of it after one: of 39 rules
# on the built-in generator, a rival was so in 8, by at most 4 %, and none of these had less than .79 before.
HOPEFUL = 0.75
# So many candidates of each weight of hard negatives are drawn; all are judged at the layer.
MOST_DRAWN = 2


@dataclass(frozen=True, order=True)
class Weights:
    """What is chosen.

    Attributes:
        drift: In units of the layer's energy.
        others: What the hard negatives of the marked images weigh together.
    """

    drift: float
    others: float = OTHERS[0]


@dataclass(frozen=True)
class Choice:
    """Settings, and how they came to be chosen.

    Attributes:
        settings: What was chosen, with every weight given.
        weights: The same, relative to the layer, but for the reach.
        tried: What each candidate does at the layer in images that are left out; empty where there are too few images
            to leave one out, and a careful prior was taken.
        drawn: What the most promising ones do to the pictures of these images.
        finished: What the chosen settings do to them after a finish, or by a descent; None if they have neither.
    """

    settings: Settings
    weights: Weights
    tried: Mapping[Weights, LeftOut] = field(default_factory=dict)
    drawn: Mapping[Weights, Drawn] = field(default_factory=dict)
    finished: Drawn | None = None

    @property
    def left_out(self) -> LeftOut | None:
        """What the chosen settings do at the layer in images that are left out."""
        return self.tried.get(self.weights)

    @property
    def pictures(self) -> Drawn | None:
        """What the chosen settings do to the pictures of images that are left out."""
        return self.finished or self.drawn.get(self.weights)

    def forecast(self) -> dict[str, Any]:
        """What is expected at unmarked places, for a patch's forecast."""
        found, drawn = self.left_out, self.pictures
        if found is None:
            return {"left_out": None}
        shown = None if drawn is None else drawn.forecast()
        return {"left_out": {**asdict(found), "each": list(found.each), "drawn": shown}}


def posed(generator: Generator, rule: Rule) -> Rule:
    """A rule whose marks are to choose the weights, as it is solved first; any other as it is.

    Its hard negatives weigh what they do in the first choice. Where the layer cannot be resumed, nothing is adjusted in
    the image; where images are large, steps are few.
    """
    if rule.settings.weights != "marks":
        return rule
    less: dict[str, Any] = {} if generator.resumable(rule.layer) else {"refine": 0, "finish": 0, "descent": 0}
    if is_large(generator):
        few = {"refine": MOST_LARGE_STEPS, "descent": FEW_STEPS}
        less = {name: min(getattr(rule.settings, name), most) for name, most in few.items()} | less
    return replace(rule, settings=replace(rule.settings, others=OTHERS[0], **less))


def settled(rule: Rule, choice: "Choice | None") -> Rule:
    """The rule with the weights that were chosen, so that it replays."""
    if choice is None:
        return rule
    return rule.with_settings(
        **{name: getattr(choice.settings, name) for name in (*CHOSEN, "finish", "descent", "reach")}
    )


def prior(problem: Problem) -> Settings:
    """The weights that the candidates are judged from, with the finish and the descent that are asked for."""
    first, asked = weighed(problem.settings, Weights(1.0), energy_unit(problem)), problem.settings
    return replace(first, finish=asked.finish, descent=asked.descent)


def energy_unit(problem: Problem) -> float:
    """The drift at which a change costs in every direction what ordinary keys make it cost on average."""
    return float(problem.moment.trace() / problem.style_row.sum())


def weighed(settings: Settings, weights: Weights, unit: float) -> Settings:
    """The same settings with weights that are given, without a finish or a descent."""
    quiet = QUIET_PER_OTHERS * weights.others
    drift, others = weights.drift * unit, weights.others
    return replace(
        settings, weights="given", damage=DAMAGE, drift=drift, others=others, quiet=quiet, finish=0, descent=0
    )


def choose(
    generator: Generator,
    aims: Mapping[int, Pasted],
    problem: Problem,
    on_progress: Callable[[float], object] | None = None,
) -> Choice:
    """Choose the weights of a problem.

    Every candidate is judged at the layer. Values there may hardly differ where pictures do, so the most promising ones
    are drawn, and the pictures decide. In the same way it is tried whether heavier hard negatives with more reach help,
    and a finish.

    Args:
        generator: The generator.
        aims: What the marked images are to look like as `sketched` draws them, by their numbers in the problem's goal.
        problem: The problem, whose hard negatives should hold its quiet places already.
        on_progress: Called with the share that is done, 0 to 1; may raise to end the choice.
    """
    unit, folds = energy_unit(problem), folds_of(problem)
    found = {
        weights: weighed(problem.settings, weights, unit)
        for weights in (Weights(drift, others) for others in OTHERS for drift in DRIFTS)
    }
    if len(folds) < LEAST_IMAGES:
        return Choice(weighed(problem.settings, Weights(CAREFUL), unit), Weights(CAREFUL))
    refits, trying = Refits(problem, folds), _tried_steps(generator, aims, problem)
    descents = DESCENT_PARTS if _tries_descent(generator, aims, problem) else 0
    each = len(found) + len(OTHERS) * MOST_DRAWN + 2 * len(HEAVIER) + bool(trying)
    step = counted(on_progress, len(folds) * each + descents)
    tried = dict(zip(found, left_out(refits, list(found.values()), step), strict=True))
    if not generator.resumable(problem.layer.name):
        best = best_of(tried)
        return Choice(found[best], best, tried)
    promising = [weights for others in OTHERS for weights in _promising(tried, others)]
    seen = draw_left_out(generator, aims, refits, [found[weights] for weights in promising], on_refit=step)
    drawn = dict(zip(promising, seen, strict=True))
    best = best_of(drawn)
    choice = Choice(found[best], best, tried, drawn)
    if descents and (descended := _descended(generator, aims, refits, choice, step)) is not None:
        return descended
    choice = _heavier(generator, aims, refits, choice, step)
    return _finished(generator, aims, refits, choice, trying, step) if trying else choice


def _descended(
    generator: Generator,
    aims: Mapping[int, Pasted],
    refits: Refits,
    choice: Choice,
    step: Callable[[], object] | None,
) -> Choice | None:
    """The choice with a descent, if about as much arrives by it as by the closed form alone, at no worse a price."""
    problem, refits = refits.problem, refits.of(refits.folds[:DESCENT_PARTS])
    (alone,) = draw_left_out(generator, aims, refits, [choice.settings])
    at_layer, seen = descend_left_out(generator, aims, refits, choice.settings, step)
    if not (seen.arrives > ABOUT * alone.arrives and seen.worth > AS_GOOD * alone.worth):
        return None
    settings = replace(choice.settings, descent=problem.settings.descent, still=problem.settings.still, finish=0)
    return replace(choice, settings=settings, tried={**choice.tried, choice.weights: at_layer}, finished=seen)


def _tries_descent(generator: Generator, aims: Mapping[int, Pasted], problem: Problem) -> bool:
    areas = [float(aim.inside.double().mean()) for aim in aims.values() if aim.inside.any()]
    if not generator.resumable(problem.layer.name) or sum(areas) < LEAST_AREA * len(areas):
        return False
    if not (problem.descends and is_large(generator)):
        return problem.descends
    steps = min(DESCENT_PARTS, len(folds_of(problem))) * FEW_STEPS + problem.settings.descent
    return is_affordable(generator, problem.layer.name, [aim.latent for aim in aims.values()], steps)


def _finished(
    generator: Generator,
    aims: Mapping[int, Pasted],
    refits: Refits,
    choice: Choice,
    steps: int,
    step: Callable[[], object] | None,
) -> Choice:
    """The choice with a finish, if some steps of it do more for the pictures."""
    before = choice.drawn[choice.weights]
    if is_large(generator):
        refits = refits.of(refits.folds[:PARTS_LARGE])
        (before,) = draw_left_out(generator, aims, refits, [choice.settings])
    (finished,) = draw_left_out(generator, aims, refits, [choice.settings], steps=steps, on_refit=step)
    if finished.worth <= before.worth:
        return choice
    finish = refits.problem.settings.finish
    return replace(choice, settings=replace(choice.settings, finish=finish), finished=finished)


def _heavier(
    generator: Generator,
    aims: Mapping[int, Pasted],
    refits: Refits,
    choice: Choice,
    step: Callable[[], object] | None,
) -> Choice:
    """The choice with heavier hard negatives and more reach, if clearly less strays and about as much arrives."""
    at_layer, pictures = choice.left_out, choice.pictures
    if choice.weights.others < OTHERS[0] or at_layer is None or pictures is None:
        return choice
    unit, found = energy_unit(refits.problem), {}
    for weights in (Weights(choice.weights.drift, others) for others in HEAVIER):
        settings = weighed(choice.settings, weights, unit)
        (held,) = left_out(refits, [settings], step)
        more = at_layer.arrives / max(held.arrives, 1e-12)
        found[weights] = replace(settings, reach=settings.reach * min(max(more, 1.0), MOST_MORE))
    drawn = dict(zip(found, draw_left_out(generator, aims, refits, list(found.values()), on_refit=step), strict=True))
    able = [weights for weights in drawn if drawn[weights].arrives > ABOUT * pictures.arrives > 0]
    if not able:
        return choice
    # Near the same arrival, what strays is in proportion to it.
    level = {weights: drawn[weights].strays * pictures.arrives / drawn[weights].arrives for weights in able}
    best = min(able, key=lambda weights: level[weights])
    if level[best] > CLEARLY * pictures.strays:
        return choice
    (held,) = left_out(refits, [found[best]])
    return Choice(found[best], best, {**choice.tried, best: held}, {**choice.drawn, best: drawn[best]})


def rival(
    generator: Generator,
    aims: Mapping[int, Pasted],
    problem: Problem,
    choice: Choice,
    on_progress: Callable[[float], object] | None = None,
) -> Choice | None:
    """The choice for another problem with the same images, if it does more for the pictures of those that are left out.

    Args:
        generator: The generator.
        aims: As `choose` takes them.
        problem: The other problem; it is tried at the drift that was chosen, with either weight of hard negatives, and
            finished if that was.
        choice: What was chosen.
        on_progress: As `choose` takes it.
    """
    if choice.pictures is None:
        return None
    unit, refits = energy_unit(problem), Refits(problem, folds_of(problem))
    tried = {
        weights: weighed(problem.settings, weights, unit)
        for weights in (Weights(choice.weights.drift, others) for others in OTHERS)
    }
    steps = _tried_steps(generator, aims, problem) if choice.finished else 0
    each = 1 + len(tried) + 2 * len(HEAVIER) + bool(steps)
    step = counted(on_progress, len(refits.folds) * each)
    seen = draw_left_out(generator, aims, refits, list(tried.values()), on_refit=step)
    drawn = dict(zip(tried, seen, strict=True))
    best = best_of(drawn)
    if drawn[best].worth <= (HOPEFUL if steps else 1.0) * choice.drawn[choice.weights].worth:
        return None
    (at_layer,) = left_out(refits, [tried[best]], step)
    other = _heavier(generator, aims, refits, Choice(tried[best], best, {best: at_layer}, drawn), step)
    if steps:
        other = _finished(generator, aims, refits, other, steps, step)
    assert other.pictures is not None
    return other if other.pictures.worth > choice.pictures.worth else None


def judge(generator: Generator, aims: Mapping[int, Pasted], problem: Problem) -> Choice:
    """The settings of a problem as they are, with what they do in images that are left out; see `choose`."""
    settings, folds = problem.settings, folds_of(problem)
    weights = Weights(settings.drift / energy_unit(problem), settings.others)
    if len(folds) < LEAST_IMAGES:
        return Choice(settings, weights)
    if problem.descends:
        at_layer, seen = descend_left_out(generator, aims, Refits(problem, folds[:DESCENT_PARTS]), settings)
        return Choice(settings, weights, {weights: at_layer}, finished=seen)
    refits = Refits(problem, folds)
    found = Choice(settings, weights, {weights: left_out(refits, [settings])[0]})
    if not generator.resumable(problem.layer.name):
        return found
    steps = _tried_steps(generator, aims, problem)
    (seen,) = draw_left_out(generator, aims, refits, [settings], steps=steps)
    return replace(found, finished=seen) if steps else replace(found, drawn={weights: seen})


def best_of(found: Mapping[Weights, LeftOut] | Mapping[Weights, Drawn]) -> Weights:
    """The weights that are worth most, with a margin for the heavier of the hard negatives."""
    return max(found, key=lambda weights: found[weights].worth * (MARGIN if weights.others == OTHERS[0] else 1.0))


def _promising(tried: Mapping[Weights, LeftOut], others: float) -> list[Weights]:
    """The candidates of one weight of hard negatives that are worth most at the layer."""
    here = [weights for weights in tried if weights.others == others]
    return sorted(here, key=lambda weights: -tried[weights].worth)[:MOST_DRAWN]


def _tried_steps(generator: Generator, aims: Mapping[int, Pasted], problem: Problem) -> int:
    """How many steps of a finish are tried on images that are left out; none where there is no finish to try."""
    if not problem.finishes:
        return 0
    if not is_large(generator):
        return TRIED_STEPS
    tries = min(PARTS_LARGE, len(folds_of(problem))) * TRIED_LARGE
    steps, latents = tries + problem.settings.finish, [aim.latent for aim in aims.values()]
    return TRIED_LARGE if is_affordable(generator, problem.layer.name, latents, steps) else 0
