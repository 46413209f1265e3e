"""Whether values are adjusted first: a second problem is tried against what was chosen for the first."""

from dataclasses import replace

import pytest

from rewrite import Rule, Settings, measure, solve
from rewrite.goals.pasted import aims_of
from rewrite.solvers import choice as choices
from rewrite.solvers import drawn, solving
from rewrite.solvers.choice import choose, posed, rival
from rewrite.solvers.drawn import Drawn
from rewrite.solvers.finish import finish
from tests.test_leave_out import evenly, problem_of
from tests.test_solvers import rule_on


@pytest.mark.parametrize("helps", [False, True])
def test_values_are_refined_only_where_left_out_images_gain_by_it(tiny_generator, monkeypatch, helps):
    rule = replace(
        rule_on(tiny_generator, "b16.conv1"), settings=replace(Settings.from_marks(), refine=2, finish=0, descent=0)
    )
    memory, seen = measure(tiny_generator, "b16.conv1", 64), []

    def judged(*given, **named):
        generator, aims, problem, choice, _ = given
        seen.append(rival(*given))
        forced = replace(choice, drawn={choice.weights: Drawn(1.0, 1e4 if not helps else 1e-4, 0.0, ())})
        return rival(generator, aims, problem, forced)

    monkeypatch.setattr(solving, "rival", judged)
    (settled,) = [Rule.from_json(text).settings for text in solve(tiny_generator, memory, rule).rules]
    assert settled.refine == (2 if helps else 0)
    assert len(seen) == 1
    monkeypatch.undo()
    told: list[float] = []
    patch = solve(tiny_generator, memory, rule, on_progress=told.append)
    (settled,) = [Rule.from_json(text).settings for text in patch.rules]
    assert settled.refine == (2 if seen[0] is None else 0)
    # The second choice goes on from where the first one was at its end.
    assert told == sorted(set(told))
    assert told[0] == 0
    assert 0.8 < told[-1] < 1


def test_another_problem_outdoes_a_choice_where_it_does_more_for_the_pictures(tiny_generator, monkeypatch):
    monkeypatch.setattr(choices, "HEAVIER", ())
    rule = rule_on(tiny_generator, "b16.conv1")
    asked = posed(tiny_generator, replace(rule, settings=replace(Settings.from_marks(), descent=0)))
    problem = problem_of(tiny_generator, "b16.conv1", asked.settings, asked)
    aims = aims_of(tiny_generator, [rule], [1.0])
    choice = choose(tiny_generator, aims, problem)
    best = max(found.worth for found in choice.drawn.values())
    worse, better = (
        replace(choice, drawn={choice.weights: made}, finished=choice.finished and made)
        for made in (Drawn(1.0, 1.0 / worth, 0.0, ()) for worth in (0.01 * best, 100 * best))
    )
    told: list[float] = []
    found = rival(tiny_generator, aims, problem, worse, told.append)
    assert found is not None
    assert found.weights.drift == choice.weights.drift
    assert found.settings.finish == choice.settings.finish
    assert found.pictures.worth > worse.pictures.worth
    assert len(told) > 1
    assert told == evenly(told)
    assert rival(tiny_generator, aims, problem, better) is None
    assert rival(tiny_generator, aims, problem, replace(choice, drawn={}, finished=None)) is None


def test_a_problem_that_does_far_less_before_a_finish_is_not_finished(tiny_generator, monkeypatch):
    rule = rule_on(tiny_generator, "b16.conv1")
    asked = posed(tiny_generator, replace(rule, settings=replace(Settings.from_marks(), descent=0)))
    problem = problem_of(tiny_generator, "b16.conv1", asked.settings, asked)
    aims = aims_of(tiny_generator, [rule], [1.0])
    choice = choose(tiny_generator, aims, problem)
    least, finished = min(found.worth for found in choice.drawn.values()), []
    monkeypatch.setattr(drawn, "finish", lambda *given: finished.append(given) or finish(*given))
    for worth, trials in ((100 * least, False), (0.01 * least, True)):
        made = Drawn(1.0, 1.0 / worth, 0.0, ())
        rival(tiny_generator, aims, problem, replace(choice, drawn={choice.weights: made}, finished=made))
        assert bool(finished) == trials
