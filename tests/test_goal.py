"""A rule becomes the right keys and values, on generators small enough to check cell by cell."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewrite.goals import others
from rewrite.goals.fill import filled
from rewrite.goals.goal import build_goal
from rewrite.goals.scene import written_values
from rewrite.rules.masks import Mask
from rewrite.rules.regions import Latent, Region
from rewrite.rules.rule import Rule
from rewrite.rules.settings import Settings


def region(generator, seed: int, top: int, left: int, height: int, width: int, scale: int = 1) -> Region:
    """A rectangle in pixels of the image, drawn on a mask of `scale` times its side."""
    array = np.zeros([side * scale for side in generator.size], dtype=bool)
    array[top : top + height, left : left + width] = True
    return Region(Latent(seed), Mask.from_array(array))


def rule_on(generator, layer: str = "conv", **parts) -> Rule:
    usual = {"settings": Settings(), "fit": "none"}
    return Rule(name="rule", model=generator.fingerprint, layer=layer, **usual | parts)


def values_of(generator, layer: str, seed: int) -> torch.Tensor:
    cut = generator.cut(layer, generator.latents([seed]))
    return written_values(generator, generator.layer(layer), cut)[0].double()


def cells_of(generator, layer: str, seed: int, keys: torch.Tensor) -> list[tuple[int, int]]:
    """Where in the written map of a seed each of some keys was read; a key found nowhere is left out."""
    described = generator.layer(layer)
    everywhere = described.keys(generator.cut(layer, generator.latents([seed])).features)[0].double()
    apart = (everywhere[None] - keys[:, None]).abs().amax(dim=2)
    found = (apart < 1e-5 * everywhere.abs().max()).nonzero()[:, 1].tolist()
    return [divmod(place, described.output_grid[1]) for place in found]


def test_a_paste_over_whole_cells_without_a_shift_asks_for_the_copied_values(plain_generator):
    box = (2, 4, 6, 4)
    rule = rule_on(plain_generator, copy=(region(plain_generator, 1, *box),), paste=region(plain_generator, 2, *box))
    goal = build_goal(plain_generator, rule)
    copied, old = (values_of(plain_generator, "conv", seed)[:, 1:4, 2:4].flatten(1).T for seed in (1, 2))
    torch.testing.assert_close(goal.targets, copied)
    torch.testing.assert_close(goal.wanted.values, old)
    assert cells_of(plain_generator, "conv", 2, goal.wanted.keys) == [(y, x) for y in (1, 2, 3) for x in (2, 3)]
    assert goal.wanted.weights.tolist() == pytest.approx([1 / 6] * 6)


@pytest.mark.parametrize("name", ["b16.conv1", "b16.torgb"])
def test_the_same_holds_in_a_modulated_network(tiny_generator, name):
    box = (3, 4, 6, 5)
    rule = rule_on(tiny_generator, name, copy=(region(tiny_generator, 1, *box),), paste=region(tiny_generator, 2, *box))
    goal = build_goal(tiny_generator, rule)
    copied = values_of(tiny_generator, name, 1)[:, 3:9, 4:9].flatten(1).T
    torch.testing.assert_close(goal.targets, copied, rtol=1e-5, atol=1e-5)
    assert goal.styles.shape == (2, tiny_generator.layer(name).inputs)


def test_where_the_mask_covers_a_part_of_a_cell_the_values_are_mixed_by_that_part(plain_generator):
    box = (2, 4, 2, 3)
    rule = rule_on(plain_generator, copy=(region(plain_generator, 1, *box),), paste=region(plain_generator, 2, *box))
    goal = build_goal(plain_generator, rule)
    copied, old = (values_of(plain_generator, "conv", seed)[:, 1, 2:4].T for seed in (1, 2))
    torch.testing.assert_close(goal.targets, torch.stack([copied[0], 0.5 * copied[1] + 0.5 * old[1]]))
    assert goal.wanted.weights.tolist() == pytest.approx([2 / 3, 1 / 3])


def test_a_paste_elsewhere_shifts_the_copy_by_whole_cells(plain_generator):
    rule = rule_on(
        plain_generator,
        copy=(region(plain_generator, 1, 2, 2, 4, 4),),
        paste=region(plain_generator, 2, 6, 4, 4, 4),
        context=(region(plain_generator, 3, 0, 8, 4, 4),),
    )
    goal = build_goal(plain_generator, rule)
    copied = values_of(plain_generator, "conv", 1)[:, 1:3, 1:3].flatten(1).T
    torch.testing.assert_close(goal.targets, copied.repeat(2, 1))
    assert cells_of(plain_generator, "conv", 2, goal.wanted.keys) == [(3, 2), (3, 3), (4, 2), (4, 3)]
    assert cells_of(plain_generator, "conv", 3, goal.wanted.keys) == [(0, 4), (0, 5), (1, 4), (1, 5)]


def test_the_anchor_says_which_points_of_copy_and_place_meet(plain_generator):
    tall, flat = region(plain_generator, 1, 2, 4, 8, 4), region(plain_generator, 2, 6, 4, 4, 4)
    rule = rule_on(plain_generator, copy=(tall,), paste=flat)
    at_centre = build_goal(plain_generator, rule).wanted.keys
    at_bottom = build_goal(plain_generator, replace(rule, anchor="bottom")).wanted.keys
    assert {row for row, _ in cells_of(plain_generator, "conv", 2, at_centre)} == {2, 3, 4, 5}
    assert {row for row, _ in cells_of(plain_generator, "conv", 2, at_bottom)} == {1, 2, 3, 4}


def test_what_a_shift_moves_out_of_the_image_is_not_wanted(plain_generator):
    rule = rule_on(
        plain_generator,
        copy=(region(plain_generator, 1, 2, 4, 8, 4),),
        paste=region(plain_generator, 2, 10, 4, 2, 4),
    )
    keys = build_goal(plain_generator, rule).wanted.keys
    assert {row for row, _ in cells_of(plain_generator, "conv", 2, keys)} == {4, 5} | ({3} if len(keys) > 4 else set())


@pytest.mark.parametrize("column", [4, 5])
def test_of_several_copies_each_place_takes_the_one_at_the_same_part_of_a_cell(plain_generator, column):
    """Copy 1 starts on the edge of a cell, copy 3 in the middle of one."""
    copies = (region(plain_generator, 1, 2, 2, 4, 4), region(plain_generator, 3, 2, 3, 4, 4))
    rule = rule_on(plain_generator, copy=copies, paste=region(plain_generator, 2, 2, column, 4, 4))
    goal = build_goal(plain_generator, rule)
    alone = build_goal(plain_generator, replace(rule, copy=copies[column - 4 : column - 3]))
    torch.testing.assert_close(goal.targets, alone.targets, rtol=0, atol=0)


def test_contexts_that_only_steer_are_not_wanted_but_say_where_the_rule_fires(plain_generator):
    box = (2, 2, 4, 4)
    rule = rule_on(
        plain_generator,
        copy=(region(plain_generator, 1, *box),),
        paste=region(plain_generator, 2, *box),
        context=(region(plain_generator, 3, *box),),
        context_use="direction",
    )
    goal = build_goal(plain_generator, rule)
    assert not cells_of(plain_generator, "conv", 3, goal.wanted.keys)
    assert len(cells_of(plain_generator, "conv", 2, goal.context)) == 4
    assert len(cells_of(plain_generator, "conv", 3, goal.context)) == 4


@pytest.mark.parametrize("margin", [0, 1, 2])
@pytest.mark.parametrize(("which", "name"), [("plain_generator", "conv"), ("tiny_generator", "b8.conv0")])
def test_hard_negatives_are_all_cells_that_are_not_near_to_what_is_marked(request, which, name, margin):
    generator = request.getfixturevalue(which)
    marked = {2: (2, 4, 4, 4), 3: (8, 0, 4, 6)}
    rule = rule_on(
        generator,
        name,
        copy=(region(generator, 1, 2, 4, 4, 4),),
        paste=region(generator, 2, *marked[2]),
        context=(region(generator, 3, *marked[3]),),
        context_use="direction",
        settings=Settings(margin=margin, others=2.0),
    )
    goal = build_goal(generator, rule)
    layer, count = generator.layer(name), 0
    for seed in marked:
        near = set(cells_of(generator, name, seed, torch.cat([goal.wanted.keys, goal.context])))
        expected = {
            cell
            for cell in np.ndindex(*layer.output_grid)
            if all(max(abs(cell[0] - y), abs(cell[1] - x)) > margin for y, x in near)
        }
        assert set(cells_of(generator, name, seed, goal.others.keys)) == expected
        count += len(expected)
    assert len(goal.others) == count
    assert float(goal.others.weights.sum()) == pytest.approx(2.0)
    assert not cells_of(generator, name, 1, goal.others.keys)


@pytest.mark.parametrize(("short", "long", "least"), [(200, 5000, 10_000), (5000, 200, 9)], ids=["short", "long"])
def test_too_many_hard_negatives_are_thinned_to_the_same_few_every_time(
    tiny_generator, monkeypatch, short, long, least
):
    monkeypatch.setattr(others, "MOST", short)
    monkeypatch.setattr(others, "MOST_LONG", long)
    monkeypatch.setattr(others, "LONG", least)
    most = min(short, long)
    box = (4, 4, 4, 4)
    rule = rule_on(
        tiny_generator,
        "b16.conv1",
        copy=(region(tiny_generator, 1, *box),),
        paste=region(tiny_generator, 2, *box),
        context=tuple(region(tiny_generator, seed, *box) for seed in (3, 4)),
    )
    goals = [build_goal(tiny_generator, rule) for _ in range(2)]
    assert 0.7 * most < len(goals[0].others) < 1.3 * most < 3 * 220
    assert torch.equal(goals[0].others.keys, goals[1].others.keys)
    for seed in (2, 3, 4):
        for row, column in cells_of(tiny_generator, "b16.conv1", seed, goals[0].others.keys):
            assert not (3 <= row <= 8 and 3 <= column <= 8)


def test_without_a_weight_there_are_no_hard_negatives(plain_generator):
    box = (2, 2, 4, 4)
    rule = rule_on(plain_generator, copy=(region(plain_generator, 1, *box),), paste=region(plain_generator, 2, *box))
    assert len(build_goal(plain_generator, rule.with_settings(others=0.0)).others) == 0


def test_protected_regions_give_their_keys_and_the_values_they_have(plain_generator):
    box = (2, 2, 4, 4)
    rule = rule_on(
        plain_generator,
        copy=(region(plain_generator, 1, *box),),
        paste=region(plain_generator, 2, *box),
        protect=(region(plain_generator, 2, 8, 8, 4, 4), region(plain_generator, 5, 0, 0, 2, 2)),
    )
    kept = build_goal(plain_generator, rule).protected
    assert cells_of(plain_generator, "conv", 2, kept.keys) == [(4, 4), (4, 5), (5, 4), (5, 5)]
    assert cells_of(plain_generator, "conv", 5, kept.keys) == [(0, 0)]
    torch.testing.assert_close(kept.values[-1], values_of(plain_generator, "conv", 5)[:, 0, 0])
    assert float(kept.weights.sum()) == pytest.approx(1.0)


def test_a_latent_by_value_is_the_image_of_its_seed(plain_generator):
    z = tuple(plain_generator.latents([2]).z[0].tolist())
    box = (2, 2, 4, 4)
    rule = rule_on(plain_generator, copy=(region(plain_generator, 1, *box),), paste=region(plain_generator, 2, *box))
    by_value = replace(rule, paste=replace(rule.paste, latent=Latent(99, z)))
    one, other = build_goal(plain_generator, rule), build_goal(plain_generator, by_value)
    torch.testing.assert_close(other.wanted.keys, one.wanted.keys)
    torch.testing.assert_close(other.targets, one.targets)


def test_erasing_asks_for_what_surrounds_the_region(plain_generator):
    rule = rule_on(plain_generator, action="erase", paste=region(plain_generator, 2, 2, 4, 4, 4))
    goal, values = build_goal(plain_generator, rule), values_of(plain_generator, "conv", 2)
    hole = torch.zeros(6, 6, dtype=torch.bool)
    hole[1:3, 2:4] = True
    torch.testing.assert_close(goal.targets, filled(values, hole)[:, hole].T)
    assert not torch.equal(goal.targets, goal.wanted.values)


def test_erasing_the_whole_image_is_refused(plain_generator):
    rule = rule_on(plain_generator, action="erase", paste=region(plain_generator, 2, 0, 0, 12, 12))
    with pytest.raises(ValueError, match="the whole image is marked: nothing is left"):
        build_goal(plain_generator, rule)


@st.composite
def holes(draw) -> torch.Tensor:
    height, width = draw(st.integers(2, 6)), draw(st.integers(2, 6))
    cells = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    hole = torch.tensor(cells).reshape(height, width)
    hole[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = False
    return hole


@settings(deadline=None, max_examples=25)
@given(holes(), st.integers(0, 1000))
def test_filled_values_are_the_weighted_mean_of_their_neighbours(hole, seed):
    height, width = hole.shape
    values = torch.randn(2, height, width, generator=torch.Generator().manual_seed(seed)).double()
    result = filled(values, hole)
    assert torch.equal(result[:, ~hole], values[:, ~hole])
    for y, x in hole.nonzero().tolist():
        around = [(y, x - 1, 4), (y, x + 1, 4), (y - 1, x, 1), (y + 1, x, 1)]
        around = [(v, u, weight) for v, u, weight in around if 0 <= v < height and 0 <= u < width]
        mean = sum(weight * result[:, v, u] for v, u, weight in around) / sum(weight for *_, weight in around)
        torch.testing.assert_close(result[:, y, x], mean, rtol=1e-8, atol=1e-8)


@settings(deadline=None, max_examples=25)
@given(holes())
def test_a_constant_map_stays_constant_when_filled(hole):
    values = torch.full((1, *hole.shape), 3.5, dtype=torch.float64)
    noisy = torch.where(hole, 100.0, values)
    torch.testing.assert_close(filled(noisy, hole), values)


def test_a_ramp_is_restored_inside_the_map():
    ramp = torch.arange(7.0).double().expand(1, 5, 7)
    hole = torch.zeros(5, 7, dtype=torch.bool)
    hole[:, 2:5] = True
    torch.testing.assert_close(filled(torch.where(hole, 0.0, ramp), hole), ramp)


def test_most_of_a_large_image_is_filled_too():
    """As a square of numbers, the equations of so many pixels would take five gigabytes."""
    ramp = torch.arange(180.0).double().expand(1, 180, 180)
    hole = torch.zeros(180, 180, dtype=torch.bool)
    hole[10:170, 10:170] = True
    torch.testing.assert_close(filled(torch.where(hole, 0.0, ramp), hole), ramp)


def test_a_rule_of_another_model_is_refused(plain_generator):
    box = (2, 2, 4, 4)
    rule = rule_on(plain_generator, copy=(region(plain_generator, 1, *box),), paste=region(plain_generator, 2, *box))
    with pytest.raises(ValueError, match=f"written on model elsewhere, not on model {plain_generator.fingerprint}"):
        build_goal(plain_generator, replace(rule, model="elsewhere"))
    with pytest.raises(ValueError, match=r"written at truncation 0\.5, not 1\.0"):
        build_goal(plain_generator, replace(rule, truncation=0.5))
    with pytest.raises(LookupError, match="no layer 'conf': did you mean conv"):
        build_goal(plain_generator, replace(rule, layer="conf"))


@pytest.mark.parametrize("field", ["copy", "paste", "context", "protect"])
def test_a_mask_of_another_size_is_refused_wherever_it_is(plain_generator, field):
    box = (2, 2, 4, 4)
    rule = rule_on(plain_generator, copy=(region(plain_generator, 1, *box),), paste=region(plain_generator, 2, *box))
    strange = Region(Latent(1), Mask((10, 10), ((0, 50),)))
    with pytest.raises(ValueError, match="the image is 12 x 12 pixels, but a mask of 10 x 10 was given"):
        build_goal(plain_generator, replace(rule, **{field: strange if field == "paste" else (strange,)}))


@pytest.mark.parametrize("z", [(), (1.0,) * 7, (1.0,) * 9])
def test_a_latent_of_another_length_is_refused(plain_generator, z):
    box = (2, 2, 4, 4)
    place = region(plain_generator, 2, *box)
    rule = rule_on(plain_generator, copy=(region(plain_generator, 1, *box),), paste=replace(place, latent=Latent(2, z)))
    with pytest.raises(ValueError, match=f"latents of this generator have 8 numbers, got {len(z)}"):
        build_goal(plain_generator, rule)


def test_a_region_that_covers_no_cell_is_refused_with_advice(tiny_generator):
    dot = region(tiny_generator, 1, 8, 8, 1, 1, scale=4)
    rule = rule_on(tiny_generator, "b4.conv1", copy=(dot,), paste=replace(dot, latent=Latent(2)))
    with pytest.raises(ValueError, match="the marked places cover no cell of this layer: mark more"):
        build_goal(tiny_generator, rule)
    build_goal(tiny_generator, replace(rule, layer="b16.conv1"))
