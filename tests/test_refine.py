"""Pasted values are adjusted until the image itself shows the copy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rewrite import Latent, Mask, Region, Rule, measure, solve
from rewrite.goal import build_goal, filled

LAYERS = ["b8.conv1", "b16.conv0", "b16.conv1"]


def rule_on(generator, layer: str, action: str = "paste", **settings) -> Rule:
    mask = np.zeros(generator.size, dtype=bool)
    mask[4:12, 4:12] = True
    copy, place = (Region(Latent(seed), Mask.from_array(mask)) for seed in (1, 2))
    copies = (copy,) if action == "paste" else ()
    rule = Rule("r", generator.fingerprint, layer, copy=copies, context=(place,), action=action)
    return rule.with_settings(**settings)


def image_with(generator, layer: str, rule: Rule) -> torch.Tensor:
    """The image in which the layer writes exactly what the rule's goal wants."""
    goal, latents = build_goal(generator, rule), generator.latents([2])
    cut = generator.cut(layer, latents)
    factor = generator.demodulation(layer, cut.style)[:, :, None, None]
    values = generator.layer(layer).apply(cut.features, generator.weight(layer)) * factor
    keys = generator.layer(layer).keys(cut.features)[0].double()
    positions = torch.cdist(goal.wanted.keys, keys).argmin(dim=1)
    values[0].flatten(1)[:, positions] = goal.targets.T.float()
    return generator.resume(layer, cut, values / factor, factor.flatten(1))[0]


@pytest.mark.parametrize("layer", LAYERS)
def test_the_image_shows_the_copy_better_with_every_step(tiny_generator, layer):
    copied = tiny_generator.images(tiny_generator.latents([1]))[0][:, 4:12, 4:12]
    missed = []
    for steps in (0, 5, 40):
        drawn = image_with(tiny_generator, layer, rule_on(tiny_generator, layer, refine=steps))[:, 4:12, 4:12]
        missed.append(float((drawn - copied).square().mean()))
    assert missed[0] > missed[1] > missed[2]


def test_only_what_is_wanted_moves(tiny_generator):
    plain, moved = (build_goal(tiny_generator, rule_on(tiny_generator, "b16.conv1", refine=n)) for n in (0, 5))
    assert torch.equal(plain.wanted.keys, moved.wanted.keys)
    assert torch.equal(plain.others.values, moved.others.values)
    assert not torch.allclose(plain.targets, moved.targets)


def test_what_is_erased_looks_like_its_surroundings(tiny_generator):
    picture = tiny_generator.images(tiny_generator.latents([2]))[0]
    hole = torch.zeros(tiny_generator.size, dtype=torch.bool)
    hole[4:12, 4:12] = True
    wanted = filled(picture.double(), hole)[:, hole].float()
    missed = [
        float((image_with(tiny_generator, "b16.conv1", rule)[:, hole] - wanted).square().mean())
        for rule in (rule_on(tiny_generator, "b16.conv1", "erase", refine=steps) for steps in (0, 40))
    ]
    assert missed[1] < missed[0]


def test_what_a_place_gets_does_not_hang_on_the_other_images(tiny_generator):
    alone = rule_on(tiny_generator, "b16.conv1", refine=5)
    place = alone.context[0]
    crowd = replace(alone, context=(place, *(replace(place, latent=Latent(seed)) for seed in (3, 4, 5))))
    goals = [build_goal(tiny_generator, rule) for rule in (alone, crowd)]
    torch.testing.assert_close(goals[1].targets[: len(goals[0].targets)], goals[0].targets, rtol=1e-4, atol=1e-5)


def test_weights_that_can_learn_collect_no_gradients(tiny_generator):
    tiny_generator.module.requires_grad_(True)
    build_goal(tiny_generator, rule_on(tiny_generator, "b16.conv1", refine=2))
    assert all(parameter.grad is None for parameter in tiny_generator.module.parameters())


def test_a_refined_rule_is_solved_to_the_same_patch_twice(tiny_generator):
    rule, memory = rule_on(tiny_generator, "b16.conv1", refine=3), measure(tiny_generator, "b16.conv1", 20)
    first, second = (solve(tiny_generator, memory, rule) for _ in range(2))
    assert torch.equal(first.left, second.left)
    assert torch.equal(first.right, second.right)


def test_masks_of_another_size_are_pasted_where_they_lie(tiny_generator):
    rule = rule_on(tiny_generator, "b16.conv1", refine=2)
    large = [replace(each, mask=Mask.from_array(each.mask.resized((32, 32)))) for each in (*rule.copy, *rule.context)]
    same = replace(rule, copy=(large[0],), context=(large[1],))
    torch.testing.assert_close(build_goal(tiny_generator, same).targets, build_goal(tiny_generator, rule).targets)
    assert np.array_equal(large[0].mask.resized((16, 16)), rule.copy[0].mask.array())
