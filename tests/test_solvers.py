"""Solutions lower the true objective, keep what is protected, and do what their forecast says."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from rewrite.generators.contract import Generator
from rewrite.goals.goal import Goal, build_goal
from rewrite.goals.keys import Keys
from rewrite.memory import Memory, measure
from rewrite.patch import Patch, Stack
from rewrite.rules.masks import Mask
from rewrite.rules.regions import Latent, Region
from rewrite.rules.rule import Rule
from rewrite.rules.settings import Settings
from rewrite.solvers.algebra import Metric, directions
from rewrite.solvers.closed_form import ClosedForm
from rewrite.solvers.problem import Problem
from rewrite.solvers.solution import Solution
from rewrite.solvers.solving import solve
from rewrite.solvers.trial import Trial

STYLEGAN2 = [("tiny_generator", name) for name in ("b16.torgb", "b16.conv1", "b16.conv0")]
PLAIN = [("plain_generator", name) for name in ("conv", "grouped", "up")]


def region(generator: Generator, seed: int, top: int, left: int, height: int, width: int) -> Region:
    array = np.zeros(generator.size, dtype=bool)
    array[top : top + height, left : left + width] = True
    return Region(Latent(seed), Mask.from_array(array))


def rule_on(generator: Generator, layer: str, number: int = 0, **changes) -> Rule:
    """A rule with one copy, one paste and two contexts; other numbers are other seeds."""
    seeds = [4 * number + i for i in range(4)]
    return Rule(
        name=f"rule {number}",
        model=generator.fingerprint,
        layer=layer,
        copy=(region(generator, seeds[0], 2, 2, 6, 6),),
        paste=region(generator, seeds[1], 4, 4, 6, 6),
        context=(region(generator, seeds[2], 2, 3, 5, 5), region(generator, seeds[3], 2, 2, 6, 6)),
        fit="none",
        settings=Settings(**changes),
    )


@pytest.fixture
def generator(request) -> Generator:
    return request.getfixturevalue(request.param)


MEMORIES: dict[tuple, Memory] = {}


def memory_of(generator: Generator, layer: str, key_space: str = "patch") -> Memory:
    """Measured once for all tests: their generators all have the same weights."""
    known = generator.fingerprint, layer, key_space
    if known not in MEMORIES:
        MEMORIES[known] = measure(generator, layer, 30, first_seed=100, key_space=key_space)
    return MEMORIES[known]


def solution_of(generator: Generator, rule: Rule) -> tuple[Problem, Solution]:
    problem = Problem.of(generator, memory_of(generator, rule.layer), build_goal(generator, rule), rule.settings)
    return problem, ClosedForm(problem).solve()


def values(generator: Generator, layer: str, goal: Goal, keys: Keys) -> torch.Tensor:
    """What the layer with its present weight writes for some keys, computed with the generator alone."""
    described, weight = generator.layer(layer), generator.weight(layer).double()
    matrix = described.matrix(weight)
    parts = [keys.keys[:, columns] @ matrix[rows].T for rows, columns in described.blocks()]
    factor = generator.demodulation(layer, goal.styles if goal.styles.shape[1] else None, weight)
    return torch.cat(parts, dim=1) * (1.0 if factor is None else factor[keys.image])


@pytest.mark.parametrize(("generator", "layer"), STYLEGAN2 + PLAIN[1:2], indirect=["generator"])
@pytest.mark.parametrize("changes", [{}, {"damage": 1e-3, "drift": 1e-3}, {"rank": 1, "constraint": "fires"}], ids=str)
def test_no_step_raises_the_objective(generator, layer, changes):
    _, solution = solution_of(generator, rule_on(generator, layer, **changes))
    path = solution.objective
    assert len(path) > 1
    assert all(later <= earlier for earlier, later in pairwise(path))
    assert path[-1] < path[0]


def test_a_change_that_is_altered_in_place_is_judged_anew(tiny_generator):
    problem, solution = solution_of(tiny_generator, rule_on(tiny_generator, "b16.conv1"))
    change = solution.change.clone()
    assert Trial(problem, change).objective == pytest.approx(solution.objective[-1])
    expected = Trial(problem, 0.5 * change).objective
    change.mul_(0.5)
    assert Trial(problem, change).objective == expected != pytest.approx(solution.objective[-1])


@pytest.mark.parametrize(
    ("generator", "layer", "rank"),
    [
        ("tiny_generator", "b16.torgb", 1),
        ("tiny_generator", "b16.conv1", 1),
        ("tiny_generator", "b16.conv0", 1),
        ("tiny_generator", "b16.conv0", 2),
        ("plain_generator", "conv", 1),
        ("plain_generator", "grouped", 1),
    ],
    indirect=["generator"],
)
def test_a_patch_of_lower_rank_is_never_worse_than_no_patch(generator, layer, rank):
    _, solution = solution_of(generator, rule_on(generator, layer, rank=rank))
    assert solution.objective[-1] <= solution.objective[0]


@pytest.mark.parametrize(("generator", "layer"), STYLEGAN2 + PLAIN, indirect=["generator"])
def test_the_objective_of_no_change_is_what_the_rule_still_misses(generator, layer):
    problem, solution = solution_of(generator, rule_on(generator, layer))
    goal = problem.goal
    missing = (goal.targets - values(generator, layer, goal, goal.wanted)).square().sum(dim=1)
    assert solution.objective[0] == pytest.approx(float(goal.wanted.weights @ missing), rel=1e-4)


@pytest.mark.parametrize(("generator", "layer"), STYLEGAN2 + PLAIN[1:], indirect=["generator"])
@pytest.mark.parametrize("rank", [None, 1])
def test_the_forecast_is_what_the_applied_patch_does(generator, layer, rank):
    rule = replace(rule_on(generator, layer, rank=rank), protect=(region(generator, 1, 0, 0, 3, 3),))
    memory, goal = memory_of(generator, layer), build_goal(generator, rule)
    patch = solve(generator, memory, rule)
    before = {name: values(generator, layer, goal, getattr(goal, name)) for name in ("wanted", "others", "protected")}
    styles = goal.styles.float() if goal.styles.shape[1] else None
    first, matrix = generator.demodulation(layer, styles), generator.layer(layer).matrix(generator.weight(layer))
    with patch.applied(generator):
        after = {name: values(generator, layer, goal, getattr(goal, name)) for name in before}
        last, edited = generator.demodulation(layer, styles), generator.layer(layer).matrix(generator.weight(layer))

    weights = goal.wanted.weights[:, None]
    missing = (weights * (goal.targets - after["wanted"]).square()).sum()
    asked = (weights * (goal.targets - before["wanted"]).square()).sum()
    assert patch.forecast["residual"] == pytest.approx(float((missing / asked) ** 0.5), rel=1e-3)
    for name in ("others", "protected"):
        moved = float((after[name] - before[name]).norm() / before[name].norm())
        assert patch.forecast["interference"][name] == pytest.approx(moved, rel=1e-3)
    drift = 1.0 if first is None else float((last / first).mean())
    assert patch.forecast["drift"] == pytest.approx(drift, rel=1e-3)

    means = [1.0 if factor is None else factor.double().mean(dim=0)[:, None] for factor in (first, last)]
    usual, changed = means[0] * matrix.double(), means[1] * edited.double() - means[0] * matrix.double()
    blocks, moment = generator.layer(layer).blocks(), memory.second_moment
    energy = [sum(((part[r] @ moment[c, c]) * part[r]).sum() for r, c in blocks) for part in (changed, usual)]
    assert patch.forecast["damage"] == pytest.approx(float(energy[0] / energy[1]), rel=1e-3)


@pytest.mark.parametrize("layer", ["b16.torgb", "b16.conv1", "b16.conv0"])
def test_solving_twice_gives_the_same_file_to_the_byte(tiny_generator, tmp_path, layer):
    rule, memory = rule_on(tiny_generator, layer), memory_of(tiny_generator, layer)
    for name in ("one", "two"):
        solve(tiny_generator, memory, Rule.from_json(rule.to_json())).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("layer", ["b16.conv0"])
def test_the_order_of_rules_solved_together_does_not_matter(tiny_generator, layer):
    rules, memory = [rule_on(tiny_generator, layer, number) for number in range(3)], memory_of(tiny_generator, layer)
    strengths = [1.0, 0.5, 0.8]
    first = solve(tiny_generator, memory, rules, strengths=strengths)
    other = solve(tiny_generator, memory, rules[::-1], strengths=strengths[::-1])
    assert torch.equal(first.left, other.left)
    assert torch.equal(first.right, other.right)
    assert first.rules == other.rules
    assert first.forecast == other.forecast


def test_a_rule_said_twice_at_two_strengths_has_no_order_either(plain_generator):
    rule, memory = rule_on(plain_generator, "conv"), memory_of(plain_generator, "conv")
    first = solve(plain_generator, memory, [rule, rule], strengths=[1.0, 0.3])
    other = solve(plain_generator, memory, [rule, rule], strengths=[0.3, 1.0])
    assert torch.equal(first.left, other.left)
    assert torch.equal(first.right, other.right)


@pytest.mark.parametrize("layer", ["conv", "up"])
def test_on_a_plain_layer_the_solution_is_proportional_to_the_strength(plain_generator, layer):
    rule, memory = rule_on(plain_generator, layer), memory_of(plain_generator, layer)
    described, whole = plain_generator.layer(layer), solve(plain_generator, memory, rule)
    scale = whole.change(described).abs().max()
    for strength in (0.0, 0.5, 2.0):
        part = solve(plain_generator, memory, [rule], strengths=[strength])
        expected = strength * whole.change(described)
        torch.testing.assert_close(part.change(described), expected, rtol=0, atol=float(1e-6 * scale))


@pytest.mark.parametrize("strengths", [[1.0], [1.0, 1.0, 1.0], [1.0, float("nan")]])
def test_strengths_that_do_not_fit_the_rules_are_refused(plain_generator, strengths):
    rules, memory = [rule_on(plain_generator, "conv", i) for i in range(2)], memory_of(plain_generator, "conv")
    with pytest.raises(ValueError, match="strength"):
        solve(plain_generator, memory, rules, strengths=strengths)


@pytest.mark.parametrize(("generator", "layer"), STYLEGAN2[1:] + PLAIN[:1], indirect=["generator"])
@pytest.mark.parametrize("constraint", ["written", "fires"])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_patch_has_no_more_than_its_rank(generator, layer, constraint, rank):
    patch = solve(generator, memory_of(generator, layer), rule_on(generator, layer, constraint=constraint), rank=rank)
    assert patch.rank <= rank


@pytest.mark.parametrize("rank", [0, -1, 500])
def test_a_rank_that_the_layer_cannot_have_is_refused(plain_generator, rank):
    with pytest.raises(ValueError, match="rank must"):
        solve(plain_generator, memory_of(plain_generator, "conv"), rule_on(plain_generator, "conv"), rank=rank)


@pytest.mark.parametrize("name", ["damage", "reach"])
def test_rules_whose_settings_differ_are_not_solved_together(plain_generator, name):
    rules = [rule_on(plain_generator, "conv", i, **{name: value}) for i, value in enumerate((0.1, 0.3))]
    with pytest.raises(ValueError, match=rf"must agree in their settings, got {name} 0\.1 and 0\.3"):
        solve(plain_generator, memory_of(plain_generator, "conv"), rules)


def test_rules_may_differ_in_their_rank_where_another_is_named(plain_generator):
    rules = [rule_on(plain_generator, "conv", i, rank=rank) for i, rank in enumerate((1, 2))]
    assert solve(plain_generator, memory_of(plain_generator, "conv"), rules, rank=3).rank <= 3


def test_one_direction_of_an_upsampling_layer_fires_at_every_phase_of_the_context(tiny_generator):
    layer = tiny_generator.layer("b16.conv0")
    rule = rule_on(tiny_generator, layer.name, rank=1, constraint="fires")
    problem, solution = solution_of(tiny_generator, rule)
    context, row = problem.goal.context, torch.linalg.svd(solution.change).Vh[0]
    for columns in layer.phases():
        keys = context[:, columns]
        assert (keys[keys.any(dim=1)] @ row[columns]).abs().max() > 1e-3 * solution.change.norm()


def test_an_input_costs_what_its_styles_say_and_one_that_is_never_used_next_to_nothing(tiny_generator):
    rule, memory = rule_on(tiny_generator, "b16.conv1"), memory_of(tiny_generator, "b16.conv1")
    goal, power = build_goal(tiny_generator, rule), memory.mean_style_power.clone()
    assert torch.equal(Problem.of(tiny_generator, memory, goal, rule.settings).style_power, power)
    power[1] = 0
    unused = replace(memory, style_power=memory.style_power * (power > 0))
    found = Problem.of(tiny_generator, unused, goal, rule.settings).style_power
    torch.testing.assert_close(found[1], 1e-12 * power.max(), rtol=1e-9, atol=0)
    assert torch.equal(found[power > 0], power[power > 0])


def test_an_input_of_a_plain_layer_costs_its_energy(plain_generator):
    rule, memory = rule_on(plain_generator, "conv"), memory_of(plain_generator, "conv")
    problem = Problem.of(plain_generator, memory, build_goal(plain_generator, rule), rule.settings)
    energy = memory.second_moment.diagonal().unflatten(0, (problem.layer.inputs, -1)).mean(dim=1)
    torch.testing.assert_close(problem.style_power, energy, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("generator", "layer"), [("tiny_generator", "b16.conv1"), ("plain_generator", "conv")], indirect=["generator"]
)
def test_a_patch_that_fires_on_the_context_reads_only_its_directions(generator, layer):
    rule = rule_on(generator, layer, rank=2, constraint="fires", others=0.0, drift=0.1)
    problem, solution = solution_of(generator, rule)
    price = rule.settings.damage * problem.moment + rule.settings.drift * torch.diag(problem.style_row)
    rows = directions(problem.goal.context, Metric(price), 2)
    outside = solution.change - solution.change @ rows.T @ rows
    assert outside.norm() < 1e-8 * solution.change.norm()


def test_a_memory_of_channel_keys_solves_as_well(plain_generator):
    memory = memory_of(plain_generator, "conv", key_space="channel")
    patch = solve(plain_generator, memory, rule_on(plain_generator, "conv", key_space="channel"))
    assert patch.forecast["objective"][-1] < patch.forecast["objective"][0]
    with pytest.raises(ValueError, match="solved over patch keys, this memory is of channel keys"):
        solve(plain_generator, memory, rule_on(plain_generator, "conv"))


def test_a_memory_or_rules_of_another_layer_are_refused(tiny_generator):
    rules = [rule_on(tiny_generator, name) for name in ("b16.conv1", "b16.conv0")]
    memory = memory_of(tiny_generator, "b16.conv1")
    with pytest.raises(ValueError, match=r"measured on layer b16\.conv1, not on layer b16\.conv0"):
        solve(tiny_generator, memory, rules[1])
    with pytest.raises(ValueError, match=r"must be of one layer, got b16\.conv0 and b16\.conv1"):
        solve(tiny_generator, memory, rules)
    with pytest.raises(ValueError, match="at least one rule, got none"):
        solve(tiny_generator, memory, [])


def recall(generator: Generator, layer: str, goal: Goal, patches: list[Patch]) -> float:
    """The share of what a rule wants that is missing while patches are on."""
    asked = goal.targets - values(generator, layer, goal, goal.wanted)
    with Stack(generator).holding([(patch, 1.0) for patch in patches]):
        missing = goal.targets - values(generator, layer, goal, goal.wanted)
    return float(missing.norm() / asked.norm())


def test_correlated_rules_solved_together_are_each_recalled_better_than_when_stacked(plain_generator):
    """Eight rules of one cell each, in the same corner: their keys share most of what they read."""
    layer, memory = "conv", memory_of(plain_generator, "conv")
    rules = [
        replace(
            rule_on(plain_generator, layer, damage=1e-4, drift=1e-4, others=0.0),
            name=str(seed),
            copy=(region(plain_generator, seed + 40, 4, 4, 2, 2),),
            paste=region(plain_generator, seed, 2, 2, 2, 2),
            context=(),
        )
        for seed in range(8)
    ]
    goals = [build_goal(plain_generator, rule) for rule in rules]
    together = [solve(plain_generator, memory, rules)]
    apart = [solve(plain_generator, memory, rule) for rule in rules]
    for goal in goals:
        assert recall(plain_generator, layer, goal, together) < 0.05
        assert recall(plain_generator, layer, goal, together) < 0.5 * recall(plain_generator, layer, goal, apart)


def test_a_reach_asks_for_as_much_as_a_strength_does(tiny_generator):
    rule = rule_on(tiny_generator, "b16.conv1")
    memory = memory_of(tiny_generator, "b16.conv1")
    farther = solve(tiny_generator, memory, rule.with_settings(reach=1.4))
    stronger = solve(tiny_generator, memory, rule, strengths=[1.4])
    assert torch.equal(farther.left @ farther.right, stronger.left @ stronger.right)
    both = solve(tiny_generator, memory, rule.with_settings(reach=2.0), strengths=[0.7])
    torch.testing.assert_close(both.left @ both.right, stronger.left @ stronger.right)
