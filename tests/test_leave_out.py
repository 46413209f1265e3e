"""Settings are judged by images that they were not solved on."""

from dataclasses import fields, replace

import pytest
import torch

from rewrite import Rule, Settings, measure, solve
from rewrite.goals.goal import build_goal
from rewrite.goals.keys import Keys
from rewrite.goals.pasted import Moved, aims_of, pasted_images
from rewrite.solvers import choice as choices
from rewrite.solvers import drawn
from rewrite.solvers.choice import (
    CAREFUL,
    DRIFTS,
    MARGIN,
    MOST_DRAWN,
    OTHERS,
    choose,
    energy_unit,
    posed,
    prior,
    settled,
    weighed,
)
from rewrite.solvers.closed_form import ClosedForm
from rewrite.solvers.drawn import draw_left_out
from rewrite.solvers.leave_out import LEAST_BESIDE, LeftOut, Refits, folds_of, left_out
from rewrite.solvers.problem import Problem
from rewrite.solvers.trial import Trial
from tests.test_solvers import region, rule_on
from tests.user_modules import GENERATORS

SETTINGS = Settings(damage=0.02, drift=0.05, others=1.0)


def protecting(generator, layer: str) -> Rule:
    return replace(rule_on(generator, layer), protect=(region(generator, 1, 0, 0, 3, 3),))


def problem_of(generator, layer: str, settings: Settings = SETTINGS, rule: Rule | None = None) -> Problem:
    rule = replace(rule or protecting(generator, layer), settings=settings)
    return Problem.of(generator, measure(generator, layer, 64), build_goal(generator, rule), settings)


def evenly(told: list[float]) -> list[float]:
    """Progress that starts at 0, goes on in equal steps and is at its end when the work is."""
    return [step / len(told) for step in range(len(told))]


def without(keys: Keys, image: int) -> Keys:
    here = keys.image != image
    return Keys(**{entry.name: getattr(keys, entry.name)[here] for entry in fields(Keys)})


def refitted(problem: Problem, image: int) -> torch.Tensor:
    """The first step of the problem whose goal never held an image: the demodulation is that of no change."""
    goal = problem.goal
    here = goal.wanted.image != image
    less = replace(
        goal,
        wanted=without(goal.wanted, image),
        targets=goal.targets[here],
        others=without(goal.others, image),
        protected=without(goal.protected, image),
    )
    reduced = replace(problem, goal=less)
    nothing = Trial(reduced, torch.zeros_like(problem.matrix))
    return torch.cat([block.step(nothing).change for block in ClosedForm(reduced).blocks])


def written(problem: Problem, keys: Keys, change: torch.Tensor) -> torch.Tensor:
    """What a change adds for some keys, with the demodulation that follows it."""
    edited = problem.layer.values(keys.keys, problem.matrix + change)
    return edited * problem.demodulation(change)[keys.image] - keys.values


@pytest.mark.parametrize(
    ("which", "layer"),
    [("plain_generator", name) for name in ("conv", "grouped", "up")] + [("tiny_generator", "b16.conv1")],
)
def test_leaving_an_image_out_is_solving_without_it(request, which, layer):
    problem = problem_of(request.getfixturevalue(which), layer, replace(SETTINGS, protect=5.0))
    goal, folds = problem.goal, folds_of(problem)
    (found,) = left_out(Refits(problem, folds), [problem.settings])
    along = wanted = stray = usual = 0.0
    for (image,), arrives in zip(folds, found.each, strict=True):
        change, here, away = refitted(problem, image), goal.wanted.image == image, goal.others.image == image
        moved = written(problem, goal.wanted, change)[here]
        want, weights = (goal.targets - goal.wanted.values)[here], goal.wanted.weights[here]
        along += (own := float((weights @ (moved * want)).sum()))
        wanted += (power := float((weights @ want.square()).sum()))
        stray += float(written(problem, goal.others, change)[away].square().sum())
        usual += float(goal.others.values[away].square().sum())
        assert arrives == pytest.approx(own / power, rel=1e-8)
    assert found.arrives == pytest.approx(along / wanted, rel=1e-8)
    assert found.beside == pytest.approx((stray / usual) ** 0.5, rel=1e-8)


def test_worth_is_what_arrives_squared_for_what_changes_beside_it_and_harm_is_worth_nothing():
    assert LeftOut(0.8, 0.5, ()).worth == pytest.approx(1.28)
    assert LeftOut(0.4, 0.5, ()).worth == pytest.approx(0.32)
    assert LeftOut(-0.5, 0.5, ()).worth == 0
    # No change at all beside, as where a layer has no cell beside the marks, is not worth everything.
    assert LeftOut(0.5, 0.0, ()).worth == LeftOut(0.5, LEAST_BESIDE, ()).worth


def test_many_images_are_left_out_in_parts_that_hold_each_once(plain_generator):
    problem = problem_of(plain_generator, "conv")
    folds = folds_of(problem, most=2)
    assert len(folds) == 2
    assert sorted(image for fold in folds for image in fold) == problem.goal.wanted.image.unique().tolist()


def test_a_drift_of_one_charges_as_much_as_ordinary_keys_do_on_average(tiny_generator):
    problem = problem_of(tiny_generator, "b16.conv1")
    charged = energy_unit(problem) * problem.style_row.sum()
    assert float(charged) == pytest.approx(float(problem.moment.trace()), rel=1e-9)


def test_of_the_promising_settings_those_are_chosen_that_do_most_for_the_pictures_of_left_out_images(
    tiny_generator, monkeypatch
):
    monkeypatch.setattr(choices, "HEAVIER", ())
    rule = rule_on(tiny_generator, "b16.conv1")
    problem = problem_of(tiny_generator, "b16.conv1", posed(tiny_generator, rule).settings, posed(tiny_generator, rule))
    told: list[float] = []
    choice = choose(tiny_generator, aims_of(tiny_generator, [rule], [1.0]), problem, told.append)
    unit = energy_unit(problem)
    assert told == evenly(told)
    assert {each.drift for each in choice.tried} == set(DRIFTS)
    for others in OTHERS:
        here = [each for each in choice.tried if each.others == others]
        drawn = [each for each in choice.drawn if each.others == others]
        assert drawn == sorted(here, key=lambda each: -choice.tried[each].worth)[:MOST_DRAWN]
    worth = {each: found.worth for each, found in choice.drawn.items()}
    assert worth[choice.weights] * MARGIN >= max(worth.values())
    assert choice.pictures == choice.drawn[choice.weights]
    assert choice.settings == weighed(problem.settings, choice.weights, unit)


@pytest.mark.parametrize(("share", "taken"), [(1e9, True), (0.0, False)], ids=["any share", "no share"])
def test_heavier_hard_negatives_are_taken_with_more_reach_where_clearly_less_strays(
    tiny_generator, monkeypatch, share, taken
):
    rule = rule_on(tiny_generator, "b16.conv1")
    asked = posed(tiny_generator, replace(rule, settings=replace(Settings.from_marks(), descent=0)))
    problem = problem_of(tiny_generator, "b16.conv1", asked.settings, asked)
    given = (tiny_generator, aims_of(tiny_generator, [rule], [1.0]), problem)
    monkeypatch.setattr(choices, "OTHERS", (choices.OTHERS[0],))
    monkeypatch.setattr(choices, "ABOUT", 1e-9)
    monkeypatch.setattr(choices, "CLEARLY", share)
    with monkeypatch.context() as changed:
        changed.setattr(choices, "HEAVIER", ())
        usual = choose(*given)
    choice = choose(*given)
    if not taken:
        assert (choice.settings, choice.drawn) == (usual.settings, usual.drawn)
        return
    assert choice.weights.others in choices.HEAVIER
    assert choice.weights.drift == usual.weights.drift
    refits = Refits(problem, folds_of(problem))
    (held,) = left_out(refits, [replace(choice.settings, reach=1.0)])
    reach = usual.left_out.arrives / held.arrives
    assert 1 < choice.settings.reach == pytest.approx(min(reach, choices.MOST_MORE), rel=1e-9)
    (seen,) = draw_left_out(*given[:2], refits, [choice.settings])
    assert choice.drawn[choice.weights].arrives == pytest.approx(seen.arrives, rel=1e-6)
    assert settled(rule, choice).settings.reach == choice.settings.reach


@pytest.mark.parametrize("layer", ["conv", "grouped", "up"])
def test_with_more_reach_images_are_left_out_as_if_more_were_wanted(plain_generator, layer):
    problem = problem_of(plain_generator, layer)
    goal, folds = problem.goal, folds_of(problem)
    farther = replace(problem, goal=replace(goal, targets=torch.lerp(goal.wanted.values, goal.targets, 1.3)))
    for (image,), _, change in Refits(problem, folds).solutions([replace(SETTINGS, reach=1.3)]):
        torch.testing.assert_close(change, refitted(farther, image), rtol=1e-8, atol=1e-10)
    # What arrives is counted against what was wanted first, also where the rule itself has that reach.
    posed_farther = replace(farther, settings=replace(farther.settings, reach=1.3))
    (once,) = left_out(Refits(problem, folds), [replace(SETTINGS, reach=1.3)])
    (again,) = left_out(Refits(posed_farther, folds), [posed_farther.settings])
    assert again.arrives == pytest.approx(once.arrives, rel=1e-9)
    assert again.beside == pytest.approx(once.beside, rel=1e-9)


@pytest.mark.parametrize("layer", ["conv", "grouped", "up"])
def test_left_out_images_are_drawn_as_a_rule_without_their_marks_draws_them(plain_generator, layer):
    rule, problem = protecting(plain_generator, layer), problem_of(plain_generator, layer)
    (found,) = draw_left_out(
        plain_generator, aims_of(plain_generator, [rule], [1.0]), Refits(problem, folds_of(problem)), [SETTINGS]
    )
    parts = []
    for pasted in pasted_images(plain_generator, rule):
        image = list(dict.fromkeys(r.latent for r in (*rule.copy, *rule.places, *rule.protect))).index(pasted.latent)
        change = refitted(problem, image)
        weight = plain_generator.weight(layer)
        with torch.no_grad():
            kept = weight.detach().clone()
            weight.add_(problem.layer.weight_from(change).to(weight))
            after = plain_generator.sample([pasted.latent.seed])[0]
            weight.copy_(kept)
        parts.append(pasted.moved(after))
    assert found.arrives == pytest.approx(Moved.together(parts).arrives, rel=1e-4)
    assert found.strays == pytest.approx(Moved.together(parts).strays, rel=1e-4)
    assert found.each == pytest.approx([part.arrives for part in parts], rel=1e-3)


def test_of_large_images_one_of_each_part_that_is_left_out_is_drawn(plain_generator, monkeypatch):
    rule, problem = protecting(plain_generator, "conv"), problem_of(plain_generator, "conv")
    folds = folds_of(problem, most=2)
    assert sorted(map(len, folds)) == [1, 2]
    left = (plain_generator, aims_of(plain_generator, [rule], [1.0]), Refits(problem, folds), [SETTINGS])
    (every,) = draw_left_out(*left)
    monkeypatch.setattr(drawn, "LARGE", 0)
    (some,) = draw_left_out(*left)
    firsts = [0, len(folds[0])]
    assert len(every.each) == 3
    assert some.each == pytest.approx([every.each[first] for first in firsts], rel=1e-4)


def test_candidates_are_judged_from_the_drift_that_charges_what_ordinary_keys_do(tiny_generator):
    rule = rule_on(tiny_generator, "b16.conv1")
    problem = problem_of(tiny_generator, "b16.conv1", replace(Settings.from_marks(), finish=7), rule)
    assert prior(problem).drift == pytest.approx(energy_unit(problem))
    assert (prior(problem).weights, prior(problem).finish) == ("given", 7)


def test_with_two_images_nothing_is_left_out_and_the_answer_is_careful(tiny_generator):
    rule = rule_on(tiny_generator, "b16.conv1")
    rule = replace(rule, context=rule.context[:1], settings=SETTINGS)
    problem = problem_of(tiny_generator, "b16.conv1", rule.settings, rule)
    choice = choose(tiny_generator, aims_of(tiny_generator, [rule], [1.0]), problem)
    assert (choice.weights.drift, choice.left_out, choice.pictures) == (CAREFUL, None, None)


def test_a_rule_without_weights_chooses_them_and_its_patch_replays_bit_for_bit(tiny_generator):
    rule = replace(rule_on(tiny_generator, "b16.conv1"), settings=replace(Settings.from_marks(), refine=1))
    memory = measure(tiny_generator, "b16.conv1", 64)
    first, again = (solve(tiny_generator, memory, rule) for _ in range(2))
    kept = Rule.from_json(first.rules[0])
    assert kept.settings.weights == "given"
    assert set(first.forecast["left_out"]) == {"arrives", "beside", "each", "drawn"}
    for other in (again, solve(tiny_generator, memory, kept)):
        assert torch.equal(other.left, first.left)
        assert torch.equal(other.right, first.right)


def test_a_layer_that_cannot_be_resumed_is_judged_by_itself_and_its_patch_replays():
    generator = GENERATORS["nvidia"]()
    rule = replace(rule_on(generator, "second"), settings=Settings.from_marks())
    memory = measure(generator, "second", 64)
    first = solve(generator, memory, rule)
    again = solve(generator, memory, Rule.from_json(first.rules[0]))
    assert first.forecast["left_out"]["drawn"] is None
    assert torch.equal(again.left, first.left)
    assert torch.equal(again.right, first.right)


def test_units_that_are_kept_stay_where_images_are_left_out_and_what_they_were_to_write_does_not_count(tiny_generator):
    rule = replace(rule_on(tiny_generator, "b16.conv1"), protect_units=(1,))
    problem = problem_of(tiny_generator, "b16.conv1", rule=rule)
    refits, goal = Refits(problem, folds_of(problem)), problem.goal
    others = [unit for unit in range(len(problem.matrix)) if unit != 1]
    along = wanted = 0.0
    for fold, _, change in refits.solutions([SETTINGS]):
        assert not change[1].any()
        here = goal.wanted.image == fold[0]
        want = (goal.targets - goal.wanted.values)[here][:, others]
        moved, weights = written(problem, goal.wanted, change)[here][:, others], goal.wanted.weights[here]
        along += float((weights @ (moved * want)).sum())
        wanted += float((weights @ want.square()).sum())
    assert left_out(refits, [SETTINGS])[0].arrives == pytest.approx(along / wanted, rel=1e-8)


def test_left_out_images_are_drawn_with_the_finish_that_the_others_get(tiny_generator):
    rule = rule_on(tiny_generator, "b16.conv1")
    problem = problem_of(tiny_generator, "b16.conv1", rule=rule)
    left = (tiny_generator, aims_of(tiny_generator, [rule], [1.0]), Refits(problem, folds_of(problem)), [SETTINGS])
    (plain,), (finished,) = draw_left_out(*left), draw_left_out(*left, steps=3)
    assert finished.strays != pytest.approx(plain.strays, rel=1e-3)


def test_given_weights_are_judged_by_images_left_out_as_chosen_ones_are_and_give_the_same_patch(tiny_generator):
    rule, memory = rule_on(tiny_generator, "b16.conv1"), measure(tiny_generator, "b16.conv1", 64)
    settings = replace(Settings.from_marks(), refine=1, descent=0)
    chosen = solve(tiny_generator, memory, replace(rule, settings=settings))
    given = Rule.from_json(chosen.rules[0])
    judged, plain = solve(tiny_generator, memory, given, judged=True), solve(tiny_generator, memory, given)
    assert torch.equal(judged.left, plain.left)
    assert "left_out" not in plain.forecast
    found, expected = judged.forecast["left_out"], chosen.forecast["left_out"]
    # The quiet places of the two are those of different first solutions.
    assert found["arrives"] == pytest.approx(expected["arrives"], abs=0.1)
    assert found["drawn"]["strays"] == pytest.approx(expected["drawn"]["strays"], rel=0.3)
    few = replace(given, context=given.context[:1])
    assert solve(tiny_generator, memory, few, judged=True).forecast["left_out"] is None


def test_the_choice_tells_its_progress_and_ends_when_asked_to(tiny_generator):
    rule, memory = rule_on(tiny_generator, "b16.conv1"), measure(tiny_generator, "b16.conv1", 64)
    rule, told = replace(rule, settings=replace(Settings.from_marks(), refine=1)), []

    def end(done: float) -> None:
        told.append(done)
        if done > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(tiny_generator, memory, rule, on_progress=end)
    assert told == sorted(told)
    assert told[0] == 0
    assert told[-1] < 0.36
