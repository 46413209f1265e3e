"""Patches come off exactly, in any order, and are never put on another weight."""

import json
import math
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rewrite.generators.contract import Generator
from rewrite.generators.fingerprint import hash_of
from rewrite.patch import Patch, Stack, describe, held_at
from rewrite.storage import files
from tests.networks import PlainGenerator

TINY = ["b4.torgb", "b8.conv0", "b8.conv1", "b16.conv0", "b16.torgb"]


def patch_of(generator: Generator, layer: str, seed: int = 0, rank: int = 2, size: float = 0.3) -> Patch:
    described, drawn = generator.layer(layer), torch.Generator().manual_seed(seed)
    return Patch(
        layer=layer,
        left=size * torch.randn(described.outputs, rank, generator=drawn),
        right=torch.randn(rank, described.width // described.groups, generator=drawn),
        base=hash_of({"weight": generator.weight(layer)}),
        model=generator.fingerprint,
        forecast={"residual": 0.25},
    )


def saved(generator: Generator) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in generator.module.state_dict().items()}


def same(generator: Generator, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in generator.module.state_dict().items())


@pytest.mark.parametrize("layer", TINY)
def test_a_patch_changes_its_weight_and_comes_off_bit_for_bit(tiny_generator, layer):
    before, patch = saved(tiny_generator), patch_of(tiny_generator, layer)
    name = tiny_generator.layer(layer).weight
    with patch.applied(tiny_generator) as edited:
        assert edited is tiny_generator
        changed = {n for n, t in tiny_generator.module.state_dict().items() if not torch.equal(t, before[n])}
        assert changed == {name}
        expected = before[name].double() + patch.change(tiny_generator.layer(layer))
        torch.testing.assert_close(tiny_generator.weight(layer).data, expected.float())
    assert same(tiny_generator, before)


@pytest.mark.parametrize("layer", ["conv", "grouped", "up"])
def test_the_edited_layer_writes_what_the_factors_say(plain_generator, layer):
    patch, described = patch_of(plain_generator, layer), plain_generator.layer(layer)
    features = plain_generator.cut(layer, plain_generator.latents([3])).features
    before = described.apply(features, plain_generator.weight(layer))
    with patch.applied(plain_generator, 0.5):
        after = described.apply(features, plain_generator.weight(layer))
    change, keys = 0.5 * patch.left.double() @ patch.right.double(), described.keys(features)[0]
    parts = torch.cat([keys[:, columns] @ change[rows].T for rows, columns in described.blocks()], dim=1)
    torch.testing.assert_close(after - before, parts.T.reshape(after.shape))


def test_a_thousand_random_operations_leave_every_weight_as_it_was(plain_generator):
    before, dice = saved(plain_generator), random.Random(0)
    patches = [patch_of(plain_generator, layer, seed) for layer in ("conv", "up") for seed in range(3)]
    stack, weights = Stack(plain_generator), {}
    for i in range(1000):
        held = [(patch, dice.choice([0.0, 1.0, dice.uniform(-3, 3)])) for patch in patches if dice.random() < 0.25]
        dice.shuffle(held)
        stack.hold(held)
        if i % 10 == 0:
            key = frozenset((id(patch), strength) for patch, strength in held if strength)
            found = hash_of({name: plain_generator.weight(name) for name in ("conv", "up")})
            assert weights.setdefault(key, found) == found
    stack.clear()
    assert same(plain_generator, before)
    assert not stack.base


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(6)), st.lists(st.floats(-2, 2), min_size=6, max_size=6))
@example([4, 2, 0, 1, 3, 5], [0.3, 1.0, -1.2, 0.7, 0.9, 1.1])
def test_the_order_of_patches_does_not_matter_bit_for_bit(order, strengths):
    """Three of a layer: two add up to the same in either order."""
    generator = PlainGenerator()
    held = [(patch_of(generator, ("conv", "up")[seed % 2], seed), strengths[seed]) for seed in range(6)]
    with Stack(generator).holding(held):
        first = saved(generator)
    with Stack(generator).holding([held[i] for i in order]):
        assert same(generator, first)


def test_strength_zero_is_exactly_the_base(tiny_generator):
    before, patch = saved(tiny_generator), patch_of(tiny_generator, "b8.conv1")
    for strength in (0.0, -0.0):
        with patch.applied(tiny_generator, strength):
            assert same(tiny_generator, before)


def test_a_patch_of_strength_zero_adds_nothing_to_others(tiny_generator):
    one, other = (patch_of(tiny_generator, "b8.conv1", seed) for seed in (0, 1))
    with one.applied(tiny_generator):
        alone = saved(tiny_generator)
    with Stack(tiny_generator).holding([(one, 1.0), (other, 0.0)]):
        assert same(tiny_generator, alone)


def test_opposite_strengths_of_one_patch_cancel(tiny_generator):
    before, patch = saved(tiny_generator), patch_of(tiny_generator, "b8.conv1")
    with Stack(tiny_generator).holding([(patch, 0.7), (patch, -0.7)]):
        assert same(tiny_generator, before)


def test_nested_patches_of_several_layers_come_off_one_by_one(tiny_generator):
    states = [saved(tiny_generator)]
    with patch_of(tiny_generator, "b8.conv1").applied(tiny_generator):
        states.append(saved(tiny_generator))
        with patch_of(tiny_generator, "b16.torgb").applied(tiny_generator, 0.5):
            assert not same(tiny_generator, states[1])
        assert same(tiny_generator, states[1])
    assert same(tiny_generator, states[0])


def test_holding_inside_holding_goes_back_to_what_was_held(tiny_generator):
    stack = Stack(tiny_generator)
    first, second = (patch_of(tiny_generator, "b8.conv1", seed) for seed in (0, 1))
    before = saved(tiny_generator)
    with stack.holding([(first, 1.0)]):
        inside = saved(tiny_generator)
        with stack.holding([(first, 0.3), (second, 1.0)]):
            assert not same(tiny_generator, inside)
        assert same(tiny_generator, inside)
        assert stack.held == [(first, 1.0)]
    assert same(tiny_generator, before)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_weights_are_restored_when_the_block_fails(tiny_generator, error):
    before, patch = saved(tiny_generator), patch_of(tiny_generator, "b8.conv1")
    with pytest.raises(error), patch.applied(tiny_generator):
        raise error
    assert same(tiny_generator, before)


def test_weights_are_restored_when_putting_patches_on_is_interrupted(tiny_generator, monkeypatch):
    """The interrupt comes after the first of two layers was written."""
    before, written = saved(tiny_generator), []
    change = Patch.change

    def interrupted(patch, layer):
        if written:
            written.clear()
            raise KeyboardInterrupt
        written.append(layer)
        return change(patch, layer)

    monkeypatch.setattr(Patch, "change", interrupted)
    held = [(patch_of(tiny_generator, layer), 1.0) for layer in ("b8.conv1", "b16.conv0")]
    with pytest.raises(KeyboardInterrupt), Stack(tiny_generator).holding(held):
        pass
    assert same(tiny_generator, before)


def test_another_weight_is_refused_and_nothing_is_changed(tiny_generator):
    patch, other = patch_of(tiny_generator, "b8.conv1"), patch_of(tiny_generator, "b16.torgb")
    tiny_generator.weight("b8.conv1").mul_(1.5)
    before, now = saved(tiny_generator), hash_of({"weight": tiny_generator.weight("b8.conv1")})
    message = f"made for weight {patch.base} of b8.conv1, not for weight {now}"
    with pytest.raises(ValueError, match=message), patch.applied(tiny_generator):
        pass
    with pytest.raises(ValueError, match=message):
        Stack(tiny_generator).hold([(other, 1.0), (patch, 1.0)])
    assert same(tiny_generator, before)


def test_a_second_patch_of_a_layer_goes_on_the_stack_and_not_on_the_edited_weight(tiny_generator):
    first, second = (patch_of(tiny_generator, "b8.conv1", seed) for seed in (0, 1))
    with first.applied(tiny_generator), pytest.raises(ValueError, match="was made for weight"):
        second.applied(tiny_generator).__enter__()
    with Stack(tiny_generator).holding([(first, 1.0)]) as edited:
        stacked = Stack(edited)
        with pytest.raises(ValueError, match="was made for weight"):
            stacked.hold([(second, 1.0)])


@pytest.mark.parametrize("strength", [math.nan, math.inf, -math.inf])
def test_a_strength_that_is_not_finite_is_refused(tiny_generator, strength):
    before, patch = saved(tiny_generator), patch_of(tiny_generator, "b8.conv1")
    with pytest.raises(ValueError, match=f"strength must be a finite number, got {strength}"):
        Stack(tiny_generator).hold([(patch, strength)])
    assert same(tiny_generator, before)


def test_a_patch_of_another_shape_is_refused_even_when_the_layer_is_held(tiny_generator):
    before, good = saved(tiny_generator), patch_of(tiny_generator, "b8.conv1")
    wrong = replace(good, left=good.left[:-1])
    stack = Stack(tiny_generator)
    for held in ([], [(good, 1.0)]):
        stack.hold(held)
        inside = saved(tiny_generator)
        with pytest.raises(ValueError, match=r"changes a matrix of 4 x 45, but layer b8\.conv1 has one of 5 x 45"):
            stack.hold([(good, 1.0), (wrong, 1.0)])
        assert same(tiny_generator, inside)
    stack.clear()
    assert same(tiny_generator, before)


def test_a_patch_of_an_unknown_layer_is_refused(tiny_generator):
    with pytest.raises(LookupError, match=r"no layer 'b8\.conv9'"):
        replace(patch_of(tiny_generator, "b8.conv1"), layer="b8.conv9").check(tiny_generator)


def test_factors_of_a_change_multiply_to_it_and_leave_rounding_out(tiny_generator):
    layer = tiny_generator.layer("b8.conv1")
    left, right = torch.randn(5, 2).double(), torch.randn(2, 45).double()
    change = left @ right + 1e-12 * torch.randn(5, 45).double()
    patch = Patch.from_change(layer, change, base="b", model="m")
    assert patch.rank == 2
    torch.testing.assert_close(layer.matrix(patch.change(layer)), left @ right, rtol=0, atol=1e-5)
    nothing = Patch.from_change(layer, torch.zeros(5, 45).double(), base="b", model="m")
    assert nothing.rank == 1
    assert not nothing.change(layer).any()


def test_a_saved_patch_comes_back_as_it_was(tiny_generator, tmp_path):
    patch = replace(patch_of(tiny_generator, "b8.conv1"), rules=('{"name": "é"}',))
    patch.save(tmp_path / "patch.safetensors")
    loaded = Patch.load(tmp_path / "patch.safetensors")
    assert torch.equal(loaded.left, patch.left)
    assert torch.equal(loaded.right, patch.right)
    for name in ("layer", "base", "model", "rules", "forecast", "rank"):
        assert getattr(loaded, name) == getattr(patch, name)
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "patch.safetensors").read_bytes()


GOOD = {"layer": "l", "base": "b", "model": "m", "rules": [], "forecast": {}}


@pytest.mark.parametrize(
    ("tensors", "about"),
    [
        ({"left": torch.full((2, 1), math.nan)}, {}),
        ({"right": torch.full((1, 3), math.inf)}, {}),
        ({"left": torch.ones(2, 2)}, {}),
        ({"left": torch.ones(2)}, {}),
        ({"left": torch.ones(2, 1).long()}, {}),
        ({"right": torch.ones(1, 3).to(torch.float8_e4m3fn)}, {}),
        ({"right": torch.ones(1, 3).double()}, {}),
        ({"right": None}, {}),
        ({}, {"rules": 5}),
        ({}, {"rules": None}),
        ({}, {"forecast": 7}),
        ({}, {"forecast": "abc"}),
        ({}, {"base": None}),
    ],
    ids=str,
)
def test_a_damaged_patch_is_refused_in_one_line(tmp_path, tensors, about):
    good = {"left": torch.ones(2, 1), "right": torch.ones(1, 3)}
    path = tmp_path / "patch.safetensors"
    files.save_tensors(path, good, "patch", GOOD)
    assert Patch.load(path).rank == 1
    stored = {name: tensor for name, tensor in {**good, **tensors}.items() if tensor is not None}
    kept = {name: value for name, value in {**GOOD, **about}.items() if name != "base" or value is not None}
    files.save_tensors(path, stored, "patch", kept)
    with pytest.raises(ValueError, match=r"patch\.safetensors") as caught:
        Patch.load(path)
    assert "\n" not in str(caught.value)


def test_a_cut_or_foreign_file_is_no_patch(tiny_generator, tmp_path):
    path = tmp_path / "patch.safetensors"
    patch_of(tiny_generator, "b8.conv1").save(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut short"):
        Patch.load(path)
    files.save_tensors(path, {"total": torch.zeros(1)}, "memory", {})
    with pytest.raises(ValueError, match="holds a memory, not a patch"):
        Patch.load(path)


def test_a_description_says_what_a_patch_changes(tiny_generator, tmp_path):
    patch = replace(patch_of(tiny_generator, "b8.conv1"), bias=torch.ones(5))
    patch.save(tmp_path / "patch.safetensors")
    said = describe(tmp_path / "patch.safetensors")
    assert (said["layer"], said["rank"], said["rules"], said["bias"]) == ("b8.conv1", 2, [], "changed")
    assert said["forecast"] == {"residual": 0.25}


def test_patches_without_strengths_are_held_as_they_are(tiny_generator):
    first, second = (patch_of(tiny_generator, "b8.conv1", seed) for seed in (0, 1))
    assert held_at(first) == ((first, 1.0),)
    assert held_at([first, second]) == ((first, 1.0), (second, 1.0))
    assert held_at([first, second], [0.5, 2.0]) == ((first, 0.5), (second, 2.0))
    with pytest.raises(ValueError, match="got 2 patches and 1 strengths"):
        held_at([first, second], [0.5])


@pytest.mark.parametrize("rule", ["[" * 100_000, "[]", "{}", "null", "7", json.dumps({"schema": "rewrite-rule/9"})])
def test_a_patch_whose_rules_are_none_is_not_described(tmp_path, rule):
    path = tmp_path / "patch.safetensors"
    tensors = {"left": torch.ones(2, 1), "right": torch.ones(1, 3)}
    files.save_tensors(path, tensors, "patch", GOOD | {"rules": [rule]})
    with pytest.raises(ValueError, match=r"must say|nested too deeply"):
        describe(path)
