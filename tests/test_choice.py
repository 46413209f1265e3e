"""Which weights are chosen, from what they do in images that are left out."""

from dataclasses import replace

import pytest

from rewrite import Settings
from rewrite.solvers import choice as choices
from rewrite.solvers import drawn
from rewrite.solvers.choice import DRIFTS, MARGIN, OTHERS, Weights, best_of, posed, settled, weighed
from rewrite.solvers.leave_out import LeftOut
from tests.test_solvers import rule_on

HEAVY, LIGHT = OTHERS


def worth(times: float) -> LeftOut:
    """What is worth so many times as much as something that is worth one."""
    return LeftOut(arrives=1.0, beside=1.0 / times, each=())


def test_light_hard_negatives_are_taken_only_where_they_are_clearly_worth_more():
    heavy = {Weights(1.0, HEAVY): worth(1.0)}
    assert best_of({**heavy, Weights(1.0, LIGHT): worth(MARGIN * 0.99)}) == Weights(1.0, HEAVY)
    assert best_of({**heavy, Weights(1.0, LIGHT): worth(MARGIN * 1.01)}) == Weights(1.0, LIGHT)
    # Between two of one weight there is no margin.
    assert best_of({**heavy, Weights(3.0, HEAVY): worth(1.01)}) == Weights(3.0, HEAVY)


def test_drifts_that_are_tried_lie_on_both_sides_of_what_ordinary_keys_cost():
    assert list(DRIFTS) == sorted(DRIFTS)
    assert 0 < DRIFTS[0] < 1 < DRIFTS[-1]


def test_a_drift_is_counted_in_units_of_the_layer_and_quiet_places_weigh_more_than_marked_images_do():
    one, three = (weighed(Settings(finish=7), Weights(drift, LIGHT), 0.5) for drift in (1.0, 3.0))
    assert (one.drift, three.drift) == (0.5, 1.5)
    assert one.others == LIGHT < one.quiet
    assert one.damage < 0.01 * one.drift
    assert (one.weights, one.finish) == ("given", 0)


def test_weights_that_are_given_stay_and_those_of_the_marks_are_posed_with_heavy_hard_negatives(tiny_generator):
    given = rule_on(tiny_generator, "b16.conv1", others=2.0)
    assert posed(tiny_generator, given) == given
    asked = replace(given, settings=Settings.from_marks())
    assert posed(tiny_generator, asked).settings == replace(Settings.from_marks(), others=HEAVY)


def test_large_images_are_adjusted_in_few_steps(tiny_generator, monkeypatch):
    monkeypatch.setattr(drawn, "LARGE", 0)
    asked = replace(rule_on(tiny_generator, "b16.conv1"), settings=Settings.from_marks())
    few = posed(tiny_generator, asked).settings.refine
    assert 0 < few < asked.settings.refine
    assert posed(tiny_generator, asked.with_settings(refine=1, weights="marks")).settings.refine == 1


def test_where_a_layer_cannot_be_resumed_nothing_is_adjusted_in_the_image(tiny_generator, monkeypatch):
    monkeypatch.setattr(type(tiny_generator), "resumable", lambda self, layer: False)
    asked = replace(rule_on(tiny_generator, "b16.conv1"), settings=Settings.from_marks())
    settings = posed(tiny_generator, asked).settings
    assert (settings.refine, settings.finish) == (0, 0)


def test_a_rule_is_settled_with_every_weight_that_was_chosen(tiny_generator):
    rule = posed(tiny_generator, replace(rule_on(tiny_generator, "b16.conv1"), settings=Settings.from_marks()))
    chosen = replace(weighed(rule.settings, Weights(3.0, LIGHT), 0.5), finish=11)
    found = settled(rule, choices.Choice(chosen, Weights(3.0, LIGHT))).settings
    for name in ("damage", "drift", "others", "quiet", "finish"):
        assert getattr(found, name) == getattr(chosen, name)
    assert found.weights == "given"
    assert found.refine == rule.settings.refine
    assert settled(rule, None) is rule


@pytest.mark.parametrize(("height", "width", "large"), [(64, 64, False), (64, 128, True), (128, 64, True)])
def test_images_of_more_pixels_than_64_x_64_are_large(tiny_generator, monkeypatch, height, width, large):
    monkeypatch.setattr(tiny_generator, "size", (height, width))
    assert drawn.is_large(tiny_generator) == large
