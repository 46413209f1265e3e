"""Nothing that is asked for is silently left out."""

import json
import re
from dataclasses import replace

import pytest
import torch

from apps.commands.solve import notes_on
from apps.ignored import UNUSED
from rewrite import Memory, Patch, Rule
from rewrite.rules import BUILT_IN
from tests.networks import marked_rule

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "--samples", "10", "--out", "a.png"],
        ["sample", "--key-space=patch", "--out", "a.png"],
        ["sample", "--key-s", "patch", "--out", "a.png"],
        ["sample", "--columns", "3", "--each", "a"],
        ["sample", "--patch", "p", "--compare", "--each", "a"],
        ["sample", "--heat", "rule.json", "--each", "a"],
        ["solve", "rule.json", "--memory", "m", "--samples", "10"],
        ["propose", "rule.json", "--layers", "all", "--contexts", "3"],
        ["propose", "rule.json", "--layers", "all", "--seeds", "0-9"],
        ["check", "no-trees", "--latents", "w.npz", "--seeds", "0-3"],
        ["report", "patch", "--lpips", "w", "--download-lpips", "squeeze", "--out", "r"],
        ["rule", "--context", "dome", "--dissection", "d", "--out", "r.json"],
        ["ablate", "--layer", "x", "--units", "1,2", "--count", "3"],
        ["artifacts", "--layer", "x", "--units", "1", "--most", "3", "--out", "a"],
        ["omissions", "--steps", "3", "--out", "a"],
        ["invert", "picture.png", "--weights", "w.pth", "--out", "a"],
    ],
)
def test_an_option_that_would_not_be_looked_at_is_refused(tmp_path, monkeypatch, refusal, arguments):
    monkeypatch.chdir(tmp_path)
    said = refusal(*arguments)
    assert re.match(r"rewrite: --[a-z-]+ .*, or leave it out$", said)
    assert list(tmp_path.iterdir()) == []


def test_every_command_of_the_list_is_tried():
    tried = {
        "sample",
        "solve",
        "propose",
        "check",
        "report",
        "rule",
        "ablate",
        "artifacts",
        "omissions",
    }
    assert set(UNUSED) == {*tried, "invert"}


def test_a_patch_that_changes_nothing_and_a_memory_of_few_keys_are_told(files):
    patch, memory = Patch.load(files["patch"]), Memory.load(files["memory"])
    assert notes_on(patch, memory) == []
    (nothing,) = notes_on(replace(patch, left=torch.zeros_like(patch.left)), memory)
    assert "changes nothing" in nothing
    (few,) = notes_on(patch, replace(memory, count=35))
    assert few == "the memory has 35 keys for 36 dimensions: measure it on more images"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"effect": {"from": ["dome", "tree"], "to": "tree"}}, "a rule turns concepts into another one, got 'tree'"),
        ({"expect": {"efficacy": 1.5}}, "the expected efficacy is a share between 0 and 1, got 1.5"),
        ({"expect": {"outside": -0.1}}, "the expected outside is a share between 0 and 1, got -0.1"),
    ],
)
def test_a_rule_that_asks_for_what_cannot_be_is_refused_when_it_is_read(files, changes, said):
    document = {**json.loads(marked_rule(files["model"]).to_json()), **changes}
    with pytest.raises(ValueError, match=said):
        Rule.from_json(json.dumps(document))


def test_a_rule_of_too_many_regions_is_refused(files):
    rule = marked_rule(files["model"])
    with pytest.raises(ValueError, match="a rule has at most 10000 regions, got 10003"):
        replace(rule, context=rule.context * 5001)


def test_a_concept_that_the_built_in_world_does_not_have_is_no_effect(tmp_path, refusal):
    document = json.loads(BUILT_IN["tree-on-towers"].read_text())
    rule = Rule.from_json(json.dumps({**document, "effect": {"from": ["towertop"], "to": "tree"}}))
    layer = "b32.conv1"
    patch = Patch(layer, torch.ones(64, 1), torch.ones(1, 64), "0" * 16, rule.model, (rule.to_json(),))
    patch.save(tmp_path / "patch.safetensors")
    said = refusal("report", tmp_path / "patch.safetensors", "--seeds", "1", "--out", tmp_path / "report")
    assert "there is no concept 'towertop'" in said
