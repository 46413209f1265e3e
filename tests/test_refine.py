"""Pasted values are adjusted until the image itself shows the copy."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from rewrite import Goals, Latent, Mask, Region, Rule, Settings, load_generator, measure, report_on, solve
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.goals import refine as refining
from rewrite.goals import wishes
from rewrite.goals.adam import Adam
from rewrite.goals.fill import filled
from rewrite.goals.goal import Goal, build_goal

LAYERS = ["b8.conv1", "b16.conv0", "b16.conv1"]


def rule_on(generator, layer: str, action: str = "paste", **settings) -> Rule:
    mask = np.zeros(generator.size, dtype=bool)
    mask[4:12, 4:12] = True
    copy, place = (Region(Latent(seed), Mask.from_array(mask)) for seed in (1, 2))
    copies = (copy,) if action == "paste" else ()
    rule = Rule("r", generator.fingerprint, layer, copy=copies, context=(place,), action=action)
    return replace(rule, fit="none", settings=Settings(**settings))


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


@pytest.fixture
def refined(monkeypatch) -> list[int]:
    """The numbers of steps of every refining that happens."""
    steps, refine = [], wishes.refine
    monkeypatch.setattr(wishes, "refine", lambda *given: steps.append(given[-1]) or refine(*given))
    return steps


def assert_same(goal: Goal, other: Goal) -> None:
    assert torch.equal(goal.targets, other.targets)
    assert torch.equal(goal.styles, other.styles)
    for name in ("wanted", "others", "protected"):
        for field in fields(getattr(goal, name)):
            assert torch.equal(getattr(getattr(goal, name), field.name), getattr(getattr(other, name), field.name))


def test_a_report_with_the_solvers_goals_refines_nothing_again_and_says_the_same(tiny_generator, refined):
    rule, memory, goals = (
        rule_on(tiny_generator, "b16.conv1", refine=3),
        measure(tiny_generator, "b16.conv1", 20),
        Goals(),
    )
    patch = solve(tiny_generator, memory, rule, goals=goals)
    with_goals = report_on(tiny_generator, patch, seeds=range(10, 12), goals=goals)
    assert refined == [3]
    alone = report_on(tiny_generator, patch, seeds=range(10, 12))
    assert refined == [3, 3]
    assert with_goals.document() == alone.document()
    assert 0 < with_goals.places[0].residual < 1


def test_solving_again_with_other_settings_refines_nothing_again(tiny_generator, refined):
    rule, memory, goals = (
        rule_on(tiny_generator, "b16.conv1", refine=3),
        measure(tiny_generator, "b16.conv1", 20),
        Goals(),
    )
    for settings in ({"damage": 0.03}, {"damage": 0.3, "drift": 0.3, "others": 7.0}):
        changed = rule.with_settings(**settings)
        patch = solve(tiny_generator, memory, changed, rank=2, goals=goals)
        assert torch.equal(patch.left, solve(tiny_generator, memory, changed, rank=2).left)
    assert refined == [3, 3, 3]


def test_a_kept_goal_is_that_of_the_rule_whichever_setting_changes(tiny_generator):
    rule, goals = rule_on(tiny_generator, "b16.conv1", refine=2), Goals(most=100)
    other = {"constraint": "fires", "key_space": "channel", "rank": 2, "quiet": 1.0, "weights": "marks"}
    other |= {"finish": 5, "descent": 5}
    goals.of(tiny_generator, rule)
    for field in fields(Settings):
        value = other[field.name] if field.name in other else 2 * getattr(rule.settings, field.name)
        changed = rule.with_settings(**{field.name: value})
        assert changed != rule
        assert_same(goals.of(tiny_generator, changed), build_goal(tiny_generator, changed))


def test_a_kept_goal_is_not_given_to_a_generator_that_changed(tiny_generator):
    rule, goals = rule_on(tiny_generator, "b16.conv1", refine=2), Goals()
    first = goals.of(tiny_generator, rule)
    tiny_generator.noise = "none"
    assert_same(goals.of(tiny_generator, rule), build_goal(tiny_generator, rule))
    assert not torch.equal(goals.of(tiny_generator, rule).wanted.keys, first.wanted.keys)
    with torch.no_grad():
        tiny_generator.weight("b8.conv1").mul_(1.1)
    with pytest.raises(ValueError, match="this rule was written on model"):
        goals.of(tiny_generator, rule)
    anew = replace(rule, model=tiny_generator.fingerprint)
    assert_same(goals.of(tiny_generator, anew), build_goal(tiny_generator, anew))


def test_only_the_goals_that_were_asked_for_last_are_kept(tiny_generator, refined):
    rules, goals = [rule_on(tiny_generator, "b16.conv1", refine=steps) for steps in (1, 2, 3)], Goals(most=2)
    for rule in (rules[0], rules[1], rules[0], rules[2], rules[0], rules[1]):
        goals.of(tiny_generator, rule)
    assert refined == [1, 2, 3, 2]


def test_the_steps_are_those_of_adam():
    torch.manual_seed(0)
    ours, slopes = torch.randn(5, 3), torch.randn(12, 5, 3)
    theirs = ours.clone().requires_grad_()
    adam, reference = Adam(ours), torch.optim.Adam([theirs], lr=0.07)
    for slope in slopes:
        ours = ours - adam.step(slope, 0.07)
        theirs.grad = slope.clone()
        reference.step()
    torch.testing.assert_close(ours, theirs.detach())


@pytest.mark.parametrize(("noise", "top"), [("seed", 0), ("seed", 20), ("const", 20), ("none", 0)])
def test_drawing_only_around_the_marks_gives_the_values_of_drawing_all(monkeypatch, noise, top):
    generator = load_generator("towers")
    generator.noise = noise
    mask = np.zeros(generator.size, dtype=bool)
    mask[top : top + 10, 24:33] = True
    copy, *places = (Region(Latent(seed), Mask.from_array(mask)) for seed in (1, 2, 3))
    rule = Rule("r", generator.fingerprint, "b32.conv1", copy=(copy,), context=tuple(places), fit="none")
    drawn, resume = [], generator.resume

    def counted(layer, cut, written, demodulation):
        drawn.append(tuple(written.shape[2:]))
        return resume(layer, cut, written, demodulation)

    monkeypatch.setattr(generator, "resume", counted)
    targets = []
    for most in (1.0, 0.0):
        monkeypatch.setattr(refining, "MOST_OF_A_MAP", most)
        targets.append(build_goal(generator, replace(rule, settings=Settings(refine=3))).targets)
    plain = build_goal(generator, replace(rule, settings=Settings())).targets
    assert set(drawn) == {(32, 32), drawn[0]}
    assert drawn[0][0] * drawn[0][1] < 0.3 * 32 * 32
    assert float((targets[0] - targets[1]).norm()) < 0.1 * float((targets[1] - plain).norm())


@pytest.mark.parametrize("layer", ["b16.conv0", "b16.torgb"])
def test_layers_of_which_no_window_can_be_drawn_are_drawn_whole(tiny_generator, layer):
    cut = tiny_generator.cut(layer, tiny_generator.latents([1]))
    assert tiny_generator.window(layer, cut, slice(0, 4), slice(0, 4)) is None


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_a_window_of_a_cut_draws_that_window_of_the_image(architecture):
    torch.manual_seed(0)
    channels = {4: 6, 8: 6, 16: 5, 32: 4, 64: 4}
    design = Design(z_dim=8, w_dim=8, mapping_layers=2, channels=channels, architecture=architecture)
    generator = StyleGAN2Generator(StyleGAN2(design), noise="const")
    with torch.no_grad():
        cut = generator.cut("b16.conv1", generator.latents([0]))
        window = generator.window("b16.conv1", cut, slice(0, 12), slice(4, 16))
        whole, part = generator.rerun("b16.conv1", cut), generator.rerun("b16.conv1", window)
    # Four cells from a border within the image, nothing of what lies beyond is felt.
    torch.testing.assert_close(part[..., :32, 16:], whole[..., :32, 32:], rtol=1e-4, atol=1e-5)
