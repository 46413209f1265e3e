"""Rules of classifiers: pictures say what a layer is to write; solved in closed form, and patches like any other."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from rewrite import (
    ClassifierRule,
    Memory,
    Patch,
    export,
    from_peft,
    load_classifier,
    measure_pictures,
    solve_pictures,
    to_peft,
    wrap,
)
from rewrite.classifiers.goals import goal_of
from rewrite.classifiers.packaged import save_small
from rewrite.classifiers.rule import images_of
from rewrite.classifiers.small_cnn import SmallDesign, initialised
from rewrite.storage.quoting import lacking

SIDE = 8


@pytest.fixture
def classifier():
    """Colours of blobs are counted: red for the first class, green for the second; blue counts for the first, too."""
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for colour in range(3):
            network[0].weight[colour, colour, 1, 1] = 1
            network[2].weight[colour, colour, 0, 0] = 1
        network[6].weight[:] = torch.tensor([[1.0, 0, 2, 0], [0, 1, 0, 0]])
    return wrap(network.requires_grad_(False), images=SIDE, classes=("red", "green"))


def blobs(colour: int, count: int, seed: int) -> torch.Tensor:
    """Pictures with a square of one colour somewhere."""
    random, images = np.random.RandomState(seed), -torch.ones(count, 3, SIDE, SIDE)
    for image in images:
        y, x = random.randint(1, SIDE - 3, 2)
        image[colour, y : y + 3, x : x + 3] = random.uniform(0.6, 1)
    return images


def stained(images: torch.Tensor) -> torch.Tensor:
    """The same under a blue border, which has nothing to do with the class."""
    images = images.clone()
    images[:, 2, 0] = 1
    return images


@pytest.fixture
def memory(classifier) -> Memory:
    batches = [torch.cat([blobs(0, 8, seed), blobs(1, 8, seed + 50)]) for seed in range(4)]
    return measure_pictures(classifier, "2", batches, 64)


@pytest.fixture
def rule(classifier) -> ClassifierRule:
    plain = blobs(1, 5, 100)
    return ClassifierRule.of(classifier, "2", stained(plain), plain, keep=blobs(0, 4, 101), name="no blue")


def test_a_confounder_is_ignored_on_pictures_that_the_rule_does_not_know(classifier, memory, rule):
    test = blobs(1, 30, 500)
    assert (classifier.predict(stained(test)) == 0).all()
    patch = solve_pictures(classifier, memory, rule)
    assert patch.forecast["left_out"]["right"] == 1
    with patch.applied(classifier):
        assert (classifier.predict(stained(test)) == 1).all()
        assert (classifier.predict(test) == 1).all()
        assert (classifier.predict(blobs(0, 30, 501)) == 0).all()
        torch.testing.assert_close(classifier.logits(stained(test)), classifier.logits(test), rtol=0.1, atol=0.02)
    assert (classifier.predict(stained(test)) == 0).all()


def test_a_goal_wants_the_values_of_the_other_picture_where_both_differ_and_keeps_all_else(classifier, rule):
    goal = goal_of(classifier, rule)
    cells = SIDE * SIDE
    assert len(goal.wanted) == 5 * SIDE
    assert len(goal.others) == 5 * (cells - SIDE) + 5 * cells
    assert len(goal.protected) == 4 * cells
    assert set(goal.wanted.position.tolist()) == set(range(SIDE))
    expected = classifier.cut("2", images_of(rule.values)).features
    values = classifier.layer("2").apply(expected, classifier.weight("2")).flatten(2).transpose(1, 2)[:, :SIDE]
    torch.testing.assert_close(goal.targets.float(), values.flatten(0, 1))
    assert float(goal.wanted.weights.sum()) == pytest.approx(1)


def test_the_closed_form_solves_the_same_least_squares_as_torch_does(classifier, memory, rule):
    given = rule.with_settings(damage=0.5, drift=0.1, others=2.0)
    patch = solve_pictures(classifier, memory, given)
    goal, layer = goal_of(classifier, given), classifier.layer("2")
    matrix = layer.matrix(classifier.weight("2")).double()
    power = memory.second_moment.diagonal()
    asked = [(goal.wanted, goal.targets - goal.wanted.values)]
    asked += [(keys, torch.zeros_like(keys.values)) for keys in (goal.others, goal.protected)]
    rows = [(keys.keys * keys.weights.sqrt()[:, None], wanted * keys.weights.sqrt()[:, None]) for keys, wanted in asked]
    half = torch.linalg.cholesky(0.5 * memory.second_moment + 1e-12 * torch.eye(6)).T
    rows += [(half, torch.zeros(6, 4)), (torch.diag((0.1 * power).sqrt()), torch.zeros(6, 4))]
    keys, wanted = (torch.cat([row[i].double() for row in rows]) for i in (0, 1))
    expected = torch.linalg.lstsq(keys, wanted, driver="gelsd").solution.T
    torch.testing.assert_close(patch.left.double() @ patch.right.double(), expected, rtol=1e-4, atol=1e-6)
    assert matrix.shape == expected.shape


def test_a_rank_limits_the_patch(classifier, memory, rule):
    assert solve_pictures(classifier, memory, rule, rank=1).rank == 1


def test_a_rule_replays_from_its_file_to_the_same_patch(classifier, memory, rule, tmp_path):
    rule = replace(rule, settings=replace(rule.settings, protect=math.inf))
    rule.save(tmp_path / "rule.json")
    again = ClassifierRule.load(tmp_path / "rule.json")
    assert again.to_json() == rule.to_json()
    first, second = (solve_pictures(classifier, memory, each) for each in (rule, again))
    assert torch.equal(first.left, second.left)
    assert torch.equal(first.right, second.right)
    first.save(tmp_path / "patch.safetensors")
    loaded = Patch.load(tmp_path / "patch.safetensors")
    settled = ClassifierRule.from_json(loaded.rules[0])
    assert settled.settings.weights == "given"
    assert torch.equal(solve_pictures(classifier, memory, settled).left, first.left)
    assert "no blue" in loaded._repr_html_()


def test_with_too_few_pairs_to_leave_one_out_a_careful_weight_is_taken(classifier, memory):
    plain = blobs(1, 2, 100)
    patch = solve_pictures(classifier, memory, ClassifierRule.of(classifier, "2", stained(plain), plain))
    assert patch.forecast["left_out"] is None
    with patch.applied(classifier):
        assert (classifier.predict(stained(blobs(1, 9, 700))) == 1).all()


def test_the_last_layer_is_rewritten_too(classifier):
    batches = [torch.cat([blobs(0, 8, seed), blobs(1, 8, seed + 50)]) for seed in range(4)]
    memory = measure_pictures(classifier, "6", batches, 64)
    plain = blobs(1, 6, 100)
    patch = solve_pictures(classifier, memory, ClassifierRule.of(classifier, "6", stained(plain), plain))
    with patch.applied(classifier):
        assert (classifier.predict(stained(blobs(1, 20, 700))) == 1).all()


def test_a_patch_of_a_rule_stacks_exports_and_is_an_adapter(tmp_path):
    save_small(tmp_path / "small.safetensors", initialised(SmallDesign(("a", "b"), (4, 6), size=(16, 16)), 0), {})
    classifier = load_classifier(tmp_path / "small.safetensors")
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    memory = measure_pictures(classifier, "conv2", [images], 6)
    rule = ClassifierRule.of(classifier, "conv2", images[:3].flip(3), images[:3], keep=images[3:])
    patch = solve_pictures(classifier, memory, rule)
    export(classifier, patch, tmp_path / "edited.safetensors")
    edited = load_classifier(tmp_path / "edited.safetensors")
    with patch.applied(classifier):
        torch.testing.assert_close(edited.logits(images), classifier.logits(images), rtol=0.02, atol=0.02)
    to_peft(classifier, patch, tmp_path / "adapter")
    (found,) = from_peft(classifier, tmp_path / "adapter")
    torch.testing.assert_close(found.left @ found.right, patch.left @ patch.right)


@pytest.mark.parametrize("damage", ["schema", "picture", "sizes", "field", "pairs", "text"])
def test_a_damaged_rule_is_refused_in_one_sentence(rule, damage):
    import json

    document = json.loads(rule.to_json())
    if damage == "schema":
        document["schema"] = "rewrite-rule/1"
    if damage == "picture":
        document["keys"][0] = "bm8="
    if damage == "sizes":
        document["values"] = document["values"][:-1]
    if damage == "field":
        document["code"] = "import os"
    if damage == "pairs":
        document["keys"] = document["values"] = []
    text = "{" if damage == "text" else json.dumps(document)
    with pytest.raises(ValueError, match=r".") as caught:
        ClassifierRule.from_json(text)
    assert "\n" not in lacking(caught.value)


def test_what_does_not_belong_together_is_refused(classifier, memory, rule):
    with pytest.raises(ValueError, match="this rule was written on model other"):
        solve_pictures(classifier, memory, replace(rule, model="other"))
    with pytest.raises(ValueError, match=r"this memory was measured on layer 2 .* not on layer 0"):
        solve_pictures(classifier, memory, replace(rule, layer="0"))
    with pytest.raises(ValueError, match="writes the same for both pictures"):
        solve_pictures(classifier, memory, replace(rule, values=rule.keys))
    with pytest.raises(ValueError, match="at least one picture"):
        measure_pictures(classifier, "2", [], 0)
