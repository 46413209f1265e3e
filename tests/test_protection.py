"""What is protected keeps its value: places exactly or by weight, and units to the bit."""

from dataclasses import replace

import pytest
import torch

from rewrite.goals.goal import build_goal
from rewrite.solvers.solving import solve
from tests.test_solvers import PLAIN, STYLEGAN2, memory_of, region, rule_on, solution_of, values


@pytest.fixture
def generator(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("generator", "layer"), [*PLAIN, ("tiny_generator", "b16.torgb")], indirect=["generator"])
@pytest.mark.parametrize("rank", [None, 1])
def test_exactly_protected_keys_keep_what_a_plain_layer_writes_for_them(generator, layer, rank):
    kept = region(generator, 1, 0, 0, 3, 3) if layer != "b16.torgb" else region(generator, 1, 0, 0, 1, 2)
    rule = replace(rule_on(generator, layer, protect=float("inf"), rank=rank), protect=(kept,))
    problem, solution = solution_of(generator, rule)
    keys = problem.goal.protected.keys
    for rows, columns in generator.layer(layer).blocks():
        assert (solution.change[rows] @ keys[:, columns].T).abs().max() < 1e-8 * keys.abs().max()
    assert solution.objective[-1] < solution.objective[0]
    patch = solve(generator, memory_of(generator, layer), rule)
    assert patch.forecast["interference"]["protected"] < 1e-5


@pytest.mark.parametrize("layer", ["b16.conv1", "b16.conv0", "b8.conv1"])
@pytest.mark.parametrize("constraint", ["written", "fires"])
def test_exactly_protected_keys_keep_their_values_though_the_demodulation_follows_the_weight(
    tiny_generator, layer, constraint
):
    rule = rule_on(tiny_generator, layer, protect=float("inf"), constraint=constraint)
    rule = replace(rule, protect=(region(tiny_generator, 1, 0, 0, 3, 3),))
    _, solution = solution_of(tiny_generator, rule)
    assert solution.objective[-1] < solution.objective[0]
    assert abs(solution.drift - 1) > 1e-4
    assert solution.interference["protected"] < 1e-8
    patch = solve(tiny_generator, memory_of(tiny_generator, layer), rule)
    goal = build_goal(tiny_generator, rule)
    before = goal.protected.values
    with patch.applied(tiny_generator):
        after = values(tiny_generator, layer, goal, goal.protected)
    assert (after - before).norm() < 1e-5 * before.norm()


@pytest.mark.parametrize(("generator", "layer"), STYLEGAN2 + PLAIN, indirect=["generator"])
@pytest.mark.parametrize("changes", [{}, {"rank": 1}, {"rank": 1, "constraint": "fires"}])
def test_protected_units_keep_their_weight_to_the_bit_and_the_others_do_not_notice(generator, layer, changes):
    rule, kept = rule_on(generator, layer, **changes), (0, 2)
    free, spared = (
        solve(generator, memory_of(generator, layer), each) for each in (rule, replace(rule, protect_units=kept))
    )
    before, outputs = generator.weight(layer).clone(), generator.layer(layer).outputs
    with spared.applied(generator):
        moved = generator.layer(layer).matrix(generator.weight(layer)) - generator.layer(layer).matrix(before)
    others = [unit for unit in range(outputs) if unit not in kept]
    assert not moved[list(kept)].any()
    assert moved[others].any() or not others
    if not changes and layer not in ("b16.conv1", "b16.conv0"):
        # Without demodulation and rank, each unit is a problem of its own.
        wanted = free.left @ free.right
        assert torch.allclose(moved[others], wanted[others].to(moved.dtype), atol=1e-5)


@pytest.mark.parametrize("units", [(3,), (0, 99)])
def test_units_that_the_layer_does_not_have_are_refused(tiny_generator, units):
    rule = replace(rule_on(tiny_generator, "b16.torgb"), protect_units=units)
    with pytest.raises(ValueError, match="has units 0 to 2"):
        solve(tiny_generator, memory_of(tiny_generator, "b16.torgb"), rule)


@pytest.mark.parametrize(("generator", "layer"), [*PLAIN, ("tiny_generator", "b16.conv1")], indirect=["generator"])
def test_more_protection_leaves_less_change_where_it_is(generator, layer):
    rule = replace(rule_on(generator, layer), protect=(region(generator, 1, 0, 0, 4, 4),))
    moved = [
        solution_of(generator, rule.with_settings(protect=weight))[1].interference["protected"]
        for weight in (0.0, 1.0, 100.0)
    ]
    assert moved[0] > moved[1] > moved[2]
