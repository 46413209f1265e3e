"""Changes that are found in the image."""

from dataclasses import replace

import pytest
import torch

from rewrite import Rule, Settings, measure, solve
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.goals.goal import build_goal
from rewrite.goals.pasted import aims_of
from rewrite.goals.still import IMAGES, SMALL, Still
from rewrite.solvers import choice as choices
from rewrite.solvers.choice import posed
from rewrite.solvers.descent import EMPHASIS, FEW_STEPS, RATE, SHARE, descend, emphasis_on
from rewrite.solvers.problem import Problem
from rewrite.solvers.solving import CHOICE
from tests.networks import CONFIG, random_stylegan2
from tests.test_solvers import region, rule_on

LAYER = "b16.conv1"
SETTINGS = Settings(descent=8)


def solved(generator, **changes):
    """A patch of a rule with a descent, and the rule."""
    rule = replace(rule_on(generator, LAYER), settings=replace(SETTINGS, **changes))
    return solve(generator, measure(generator, LAYER, 64), rule), rule


def drawn(generator, patch, seeds) -> torch.Tensor:
    with patch.applied(generator), torch.no_grad():
        return generator.images(generator.latents(seeds))


def test_the_first_step_goes_against_the_sign_of_the_gradient_of_what_is_missed(tiny_generator):
    """By an independent loss, over whole runs of the network."""
    rule = replace(rule_on(tiny_generator, LAYER), settings=SETTINGS)
    aims = list(aims_of(tiny_generator, [rule], [1.0]).values())
    layer, memory = tiny_generator.layer(LAYER), measure(tiny_generator, LAYER, 64)
    settings = replace(SETTINGS, descent=1)
    problem = Problem.of(tiny_generator, memory, build_goal(tiny_generator, rule), settings)
    none = torch.zeros_like(problem.matrix)
    moved = descend(tiny_generator, problem, aims, none, Still.of(tiny_generator, layer)).change
    parameter = tiny_generator.module.get_parameter(layer.weight)
    parameter.requires_grad_(True)
    with torch.enable_grad():
        images = tiny_generator.images(tiny_generator.latents([aim.latent.seed for aim in aims]))
        weighed = torch.stack([1 + EMPHASIS * aim.inside for aim in aims])[:, None]
        loss = ((images - torch.stack([aim.wanted for aim in aims])).abs() * weighed).mean()
    (slope,) = torch.autograd.grad(loss, parameter)
    rate = RATE * float(layer.matrix(tiny_generator.weight(LAYER)).detach().square().mean().sqrt())
    torch.testing.assert_close(moved, -rate * torch.sign(layer.matrix(slope)).double(), rtol=0.01, atol=1e-4 * rate)


def test_the_marked_images_come_nearer_to_what_is_wanted_and_the_forecast_says_how_near(tiny_generator):
    patch, rule = solved(tiny_generator, descent=30)
    aims = list(aims_of(tiny_generator, [rule], [1.0]).values())

    def missed(images: torch.Tensor) -> float:
        parts = [((i - a.wanted).abs() * (1 + EMPHASIS * a.inside)).mean() for i, a in zip(images, aims, strict=True)]
        return float(torch.stack(parts).mean())

    seeds = [aim.latent.seed for aim in aims]
    before, after = (
        missed(tiny_generator.images(tiny_generator.latents(seeds))),
        missed(drawn(tiny_generator, patch, seeds)),
    )
    assert after < 0.95 * before
    assert patch.forecast["descent"]["missed"] == pytest.approx([before, after], rel=0.02)


def test_small_marks_weigh_as_much_together_as_large_ones(tiny_generator):
    rule = rule_on(tiny_generator, LAYER)
    place = region(tiny_generator, 1, 4, 4, 2, 2)
    small = replace(rule, action="erase", copy=(), paste=None, context=(place,), protect=(rule.context[0],))
    assert emphasis_on(list(aims_of(tiny_generator, [rule], [1.0]).values())) == EMPHASIS
    aims = list(aims_of(tiny_generator, [small], [1.0]).values())
    assert [bool(aim.inside.any()) for aim in aims] == [True, False]
    assert emphasis_on(aims) * 4 / 16**2 == pytest.approx(SHARE)


def test_small_marks_are_left_to_the_closed_form(tiny_generator, monkeypatch):
    monkeypatch.setattr(choices, "ABOUT", -1e9)
    monkeypatch.setattr(choices, "AS_GOOD", -1e9)
    rule = replace(rule_on(tiny_generator, LAYER), settings=replace(Settings.from_marks(), refine=1))
    area = (36 + 36 + 36) / (3 * 16**2)
    for least, taken in ((0.99 * area, True), (1.01 * area, False)):
        monkeypatch.setattr(choices, "LEAST_AREA", least)
        patch = solve(tiny_generator, measure(tiny_generator, LAYER, 64), rule)
        assert ("descent" in patch.forecast) == taken


def test_the_same_rule_gives_the_same_patch_bit_for_bit(tiny_generator):
    one, _ = solved(tiny_generator)
    again = solve(tiny_generator, measure(tiny_generator, LAYER, 64), Rule.from_json(one.rules[0]))
    assert torch.equal(one.left, again.left)
    assert torch.equal(one.right, again.right)


def test_the_heavier_ordinary_images_weigh_the_less_moves_in_them(tiny_generator):
    layer, seeds = tiny_generator.layer(LAYER), range(300, 320)
    before, still = tiny_generator.images(tiny_generator.latents(seeds)).detach(), Still.of(tiny_generator, layer)
    ordinary, unseen = [], []
    for weight in (0.0, 1.0, 30.0):
        patch, _ = solved(tiny_generator, descent=20, still=weight)
        moved = (drawn(tiny_generator, patch, seeds) - before).abs().mean(dim=1)
        unseen.append(float((moved < SMALL).double().mean()))
        with patch.applied(tiny_generator), torch.no_grad():
            edited = tiny_generator.weight(LAYER).clone()
        parts = [float(still.moved(part, tiny_generator, layer, edited)) for part in range(len(still.cuts))]
        ordinary.append(sum(parts))
    assert ordinary[0] > ordinary[1] > ordinary[2]
    # What moved far already is let go: of images that it does not know, more pixels stay where they are.
    assert unseen[0] < unseen[2]


def test_what_moved_little_counts_by_how_much_and_what_moved_far_counts_no_more(tiny_generator):
    layer, weight = tiny_generator.layer(LAYER), tiny_generator.weight(LAYER).detach()
    still = Still.of(tiny_generator, layer)
    assert sum(map(len, still.before)) == IMAGES
    assert float(still.moved(0, tiny_generator, layer, weight)) == 0
    nudged = weight * (1 + 1e-4 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        cut = still.cuts[3]
        factor = tiny_generator.demodulation(LAYER, cut.style, nudged)
        images = tiny_generator.resume(LAYER, cut, layer.apply(cut.features, nudged), factor)
        little = float(still.moved(3, tiny_generator, layer, nudged))
        far = float(still.moved(3, tiny_generator, layer, -100 * weight))
    assert little == pytest.approx(float((images - still.before[3]).abs().mean()), rel=0.02)
    assert 0.5 * SMALL < far <= SMALL


def test_protected_units_do_not_move_and_a_rank_leaves_no_descent(tiny_generator):
    memory, rule = measure(tiny_generator, LAYER, 64), replace(rule_on(tiny_generator, LAYER), settings=SETTINGS)
    before = tiny_generator.weight(LAYER).detach().clone()
    with solve(tiny_generator, memory, replace(rule, protect_units=(1,))).applied(tiny_generator):
        moved = (tiny_generator.weight(LAYER) - before).abs().flatten(1).amax(dim=1)
    assert moved[1] == 0
    assert (moved > 0).sum() == len(moved) - 1
    ranked = solve(tiny_generator, memory, rule, rank=1)
    assert (ranked.rank, "descent" in ranked.forecast) == (1, False)


@pytest.mark.parametrize("share", [-1e9, 1e9], ids=["any share", "no share"])
def test_the_marks_take_a_descent_where_it_does_enough_for_images_left_out(tiny_generator, monkeypatch, share):
    monkeypatch.setattr(choices, "ABOUT", share)
    monkeypatch.setattr(choices, "AS_GOOD", share)
    rule = replace(rule_on(tiny_generator, LAYER), settings=replace(Settings.from_marks(), refine=1))
    memory, told = measure(tiny_generator, LAYER, 64), list[float]()
    patch = solve(tiny_generator, memory, rule, on_progress=told.append)
    (chosen,) = [Rule.from_json(text).settings for text in patch.rules]
    taken = share < 0
    assert told == sorted(told)
    assert (told[-1] > CHOICE) == taken  # a descent tells its steps, and the bar does not stand still
    assert (chosen.descent, "descent" in patch.forecast) == (rule.settings.descent if taken else 0, taken)
    if not taken:
        assert torch.equal(patch.left, solve(tiny_generator, memory, rule.with_settings(descent=0)).left)
    judged = solve(tiny_generator, memory, Rule.from_json(patch.rules[0]), judged=True)
    assert torch.equal(judged.left, patch.left)
    seen, expected = (each.forecast["left_out"]["drawn"] for each in (judged, patch))
    # The quiet places of the two are those of different first solutions.
    assert seen["arrives"] == pytest.approx(expected["arrives"], abs=0.1)
    assert seen["strays"] == pytest.approx(expected["strays"], rel=0.3)


def test_rules_of_images_larger_than_their_sketch_are_solved_with_all_that_the_marks_may_choose():
    """A finish was tried on the sketch's pictures with the network's own: 64 pixels beside 128."""
    channels = {4 * 2**i: 8 for i in range(6)}
    generator = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG | {"channels": channels})))
    assert generator.size == (128, 128)
    rule = rule_on(generator, "b32.conv1")
    asked = posed(generator, replace(rule, settings=Settings.from_marks())).settings
    assert asked.descent == FEW_STEPS < Settings.from_marks().descent
    rule = replace(rule, settings=replace(Settings.from_marks(), refine=1, finish=2, descent=2))
    patch = solve(generator, measure(generator, "b32.conv1", 64), rule)
    assert patch.forecast["left_out"]["drawn"]["strays"] > 0


@pytest.mark.parametrize("steps", [{"descent": 8}, {"descent": 0, "finish": 8}], ids=["descent", "finish"])
def test_steps_in_the_image_find_the_same_in_half_precision(tiny_generator, steps):
    """In which Adam's squares would be zero, and its steps no numbers."""
    patch, rule = solved(tiny_generator, **steps)
    half = tiny_generator.to(dtype=torch.float16)
    found = solve(half, measure(half, LAYER, 64), replace(rule, model=half.fingerprint))
    one, other = (each.left @ each.right for each in (patch, found))
    assert torch.isfinite(other).all()
    assert float((one * other).sum() / (one.norm() * other.norm())) > 0.8
