"""At which layer a rule is solved best."""

from dataclasses import replace

import pytest

from rewrite import Rule, propose_layers
from rewrite.goals.pasted import Moved, pasted_images
from tests.test_solvers import region, rule_on

LAYERS = ["b8.conv1", "b16.conv0", "b16.conv1"]


@pytest.fixture
def rule(tiny_generator) -> Rule:
    return rule_on(tiny_generator, "b16.conv1")


def test_layers_are_told_in_the_order_of_what_arrives_for_what_changes_beside_it(tiny_generator, rule):
    found = propose_layers(tiny_generator, rule, LAYERS, samples=32)
    assert sorted(each.layer for each in found) == sorted(LAYERS)
    assert all(each.drawn for each in found)
    worth = [max(0.0, each.arrives) ** 2 / max(each.beside, 0.01) for each in found]
    assert worth == sorted(worth, reverse=True)


def test_each_layer_comes_with_the_rule_solved_there(tiny_generator, rule):
    for each in propose_layers(tiny_generator, rule, LAYERS, samples=32):
        assert each.patch.layer == each.layer
        moved = []
        for pasted in pasted_images(tiny_generator, replace(rule, layer=each.layer)):
            with each.patch.applied(tiny_generator):
                moved.append(pasted.moved(tiny_generator.sample([pasted.latent.seed])[0]))
        assert Moved.together(moved).strays > 0


def test_all_layers_are_tried_that_write_more_than_colours_and_that_the_marks_meet(tiny_generator, rule):
    tried = {each.layer for each in propose_layers(tiny_generator, rule, samples=16)}
    assert tried
    assert all(tiny_generator.layer(name).outputs > 3 for name in tried)


def test_two_marked_images_are_too_few_to_compare_layers(tiny_generator, rule):
    few = replace(rule, context=(), paste=region(tiny_generator, 5, 0, 0, 3, 3))
    with pytest.raises(ValueError, match="mark at least 3 images, got 1"):
        propose_layers(tiny_generator, few, LAYERS)


def test_a_rule_of_another_model_is_refused(tiny_generator, rule):
    with pytest.raises(ValueError, match="written on model"):
        propose_layers(tiny_generator, replace(rule, model="0" * 16), LAYERS)
