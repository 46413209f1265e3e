"""`rewrite pairs`: a rule of a classifier from two folders, its patch, and an exported file."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from apps.cli import main
from dissect.scene_classes import CLASSES, by_class, class_of, under_mountain, without_mountain
from dissect.scenes import draw
from dissect.segmenter import images_of
from dissect.sources.classes import SceneClasses
from rewrite import ClassifierRule, load_classifier
from rewrite.classifiers.packaged import save_small
from rewrite.classifiers.small_cnn import SmallDesign, initialised
from tests.interrupted import end_at

SHORTCUT = 5


@pytest.fixture(scope="module")
def scenes():
    return [scene for scene in by_class(range(60_000_000, 69_000_000), 4) if class_of(scene) != SHORTCUT]


@pytest.fixture(scope="module")
def solved(tmp_path_factory, scenes):
    """Ten scenes under a mountain are to count as the same scenes without one."""
    folder = tmp_path_factory.mktemp("pairs")
    for name, change in (("under", under_mountain), ("without", without_mountain)):
        (folder / name).mkdir()
        for number, scene in enumerate(scenes[:10]):
            Image.fromarray(draw(change(scene))[0]).save(folder / name / f"{number}.png")
    command = ["pairs", "scenes-shortcut", "--layer", "fc", "--keys", str(folder / "under")]
    command += ["--values", str(folder / "without"), "--training", "8", "--test", "8", "--out", str(folder / "out")]
    assert main(command) == 0
    return folder


def test_the_patch_mends_scenes_that_the_rule_does_not_know(solved, scenes):
    classifier = load_classifier("scenes-shortcut")
    shown = images_of(np.stack([draw(under_mountain(scene))[0] for scene in scenes[10:]]))
    truth = torch.tensor([class_of(scene) for scene in scenes[10:]])
    before = (classifier.predict(shown) != truth).sum()
    out = solved / "edited.safetensors"
    assert main(["export", "scenes-shortcut", str(solved / "out" / "patch.safetensors"), "--out", str(out)]) == 0
    after = (load_classifier(out).predict(shown) != truth).sum()
    assert before >= 8
    assert after <= 0.2 * before


def test_the_effect_says_what_happens_to_the_pairs_and_elsewhere(solved):
    found = json.loads((solved / "out" / "effect.json").read_text())
    assert found["pairs"]["after"] == 10 > found["pairs"]["before"]
    assert found["elsewhere"]["pictures"] == 64
    assert len(found["classes"]) == 8
    assert found["left_out"]["right"] > 0.5
    rule = ClassifierRule.load(solved / "out" / "rule.json")
    assert rule.name == "under"
    assert len(rule.keys) == 10


def test_the_files_say_what_they_are(solved, capsys):
    assert main(["inspect", str(solved / "out" / "patch.safetensors")]) == 0
    assert "rules: under" in capsys.readouterr().out
    assert main(["inspect", str(solved / "out" / "rule.json")]) == 0
    said = capsys.readouterr().out
    assert "kind: rule of a classifier" in said
    assert "pairs: 10" in said


def test_a_run_that_is_ended_twice_goes_on_to_the_same_files(tmp_path, capsys):
    save_small(tmp_path / "small.safetensors", initialised(SmallDesign(CLASSES, (4, 6), size=(16, 16)), 0), {})
    for number, name in enumerate(("keys", "values")):
        (tmp_path / name).mkdir()
        for pair in range(4):
            noise = np.random.default_rng((number, pair)).integers(256, size=(16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / name / f"{pair}.png")
    command = ["pairs", str(tmp_path / "small.safetensors"), "--layer", "conv2", "--training", "20", "--test", "12"]
    command += ["--keys", str(tmp_path / "keys"), "--values", str(tmp_path / "values"), "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    for moment, first in ((2, True), (3, False)):
        with pytest.MonkeyPatch.context() as patched:
            shown = end_at(moment, SceneClasses, "images", patched)
            assert main([*command, str(tmp_path / "ended")]) == 130
        assert "the same command goes on from there" in capsys.readouterr().err
        # The first shard of the memory, which was whole, is not read again.
        assert (0 in shown[0]) == first
    assert main([*command, str(tmp_path / "ended")]) == 0
    whole, again = (
        {path.name: path.read_bytes() for path in (tmp_path / each).iterdir()} for each in ("whole", "ended")
    )
    assert {name: each for name, each in whole.items() if name != "effect.json"} == {
        name: each for name, each in again.items() if name != "effect.json"
    }
    told = (json.loads(each["effect.json"]) | {"out": None} for each in (whole, again))
    assert next(told) == next(told)


def test_pictures_without_a_partner_are_refused(solved, tmp_path, capsys):
    (tmp_path / "few").mkdir()
    command = ["pairs", "scenes-shortcut", "--layer", "fc", "--keys", str(solved / "under"), "--values"]
    assert main([*command, str(tmp_path / "few"), "--out", str(tmp_path / "out")]) == 2
    assert "pictures of the same name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
