"""`rewrite roles`: what it writes, and what it refuses."""

import csv
import io
import json

import pytest
import torch
from PIL import Image

from apps.cli import main
from dissect.roles.roles_page import roles_page
from dissect.scene_classes import CLASSES
from dissect.sources.classes import SceneClasses
from rewrite.classifiers.packaged import save_small
from rewrite.classifiers.small_cnn import SmallDesign, initialised
from tests.interrupted import end_at
from tests.markup import HOSTILE, assert_shown_as_text

SMALL = ("--training", "4", "--test", "4", "--few", "2", "--more", "5")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The roles of a layer of the built-in classifier on few scenes."""
    out = tmp_path_factory.mktemp("roles")
    assert main(["roles", "--layer", "relu5", *SMALL, "--out", str(out)]) == 0
    return out


def test_the_table_is_of_every_class_with_each_set_off(written):
    document = json.loads((written / "roles.json").read_text())
    assert [row["class"] for row in document["classes"]][:2] == ["roofs", "domes"]
    assert document["updated"] == "fc"
    row = document["classes"][0]
    assert row["unchanged"]["low"] < row["unchanged"]["value"] == 1
    assert len(row["best"]) == 2
    assert {"few", "more", "keep", "few_all"} <= set(row)
    assert {"unit", "level", "value", "low", "high"} <= set(row["detector"])
    assert row["detector"]["low"] < row["detector"]["value"]
    assert len(document["unit"]) == 128
    assert 0 <= document["unit"][0]["iou"] <= 1
    table = list(csv.DictReader(io.StringIO((written / "roles.csv").read_text())))
    assert float(table[0]["unchanged"]) == 1
    units = list(csv.DictReader(io.StringIO((written / "units.csv").read_text())))
    assert len(units) == 128 * 8


def test_the_page_needs_nothing_else_and_shows_names_as_text(written):
    page = (written / "roles.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    document = json.loads((written / "roles.json").read_text())
    document["classes"][0]["class"] = HOSTILE
    assert_shown_as_text(roles_page(document, HOSTILE))


def test_one_class_of_a_folder_is_asked_about_and_only_promising_units_are_measured(tmp_path, capsys):
    torch.manual_seed(0)
    save_small(tmp_path / "small.safetensors", initialised(SmallDesign(("a", "b"), (4, 6), size=(16, 16)), 0), {})
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(4):
            Image.effect_noise((16, 16), 80 + number).convert("RGB").save(
                tmp_path / "pictures" / name / f"{number}.png"
            )
    command = [
        "roles",
        str(tmp_path / "small.safetensors"),
        "--layer",
        "relu2",
        *SMALL[:4],
        "--few",
        "1",
        "--more",
        "2",
    ]
    more = ["--pictures", str(tmp_path / "pictures"), "--classes", "b", "--screen", "2", "--out", str(tmp_path / "out")]
    assert main([*command, *more, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["class"] for row in found["classes"]] == ["b"]
    assert found["interpretability"] is None
    document = json.loads((tmp_path / "out" / "roles.json").read_text())
    assert sum(unit["classes"]["b"]["importance"] is not None for unit in document["unit"]) == 2


def test_a_run_that_is_ended_twice_goes_on_to_the_same_files(tmp_path, capsys):
    save_small(tmp_path / "small.safetensors", initialised(SmallDesign(CLASSES, (4, 6), size=(16, 16)), 0), {})
    command = ["roles", str(tmp_path / "small.safetensors"), "--layer", "relu2", "--few", "1", "--more", "2"]
    command += ["--pictures", "scenes", "--training", "12", "--test", "12", "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    for moment in (3, 20):
        with pytest.MonkeyPatch.context() as patched:
            end_at(moment, SceneClasses, "images", patched)
            assert main([*command, str(tmp_path / "ended")]) == 130
        assert "the same command goes on from there" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "ended")]) == 0
    assert {path.name for path in (tmp_path / "ended").iterdir()} == {
        "roles.html",
        "roles.json",
        "roles.csv",
        "units.csv",
    }
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "ended" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--layer", "relu6"), "no part 'relu6': did you mean relu"),
        (("--layer", "relu5", "--classes", "dome"), "no class 'dome': did you mean domes"),
        (("--layer", "relu5", "--pictures", "nowhere"), "no folder nowhere"),
        (("--layer", "relu5", "--more", "128"), "name smaller ones"),
    ],
)
def test_what_is_not_there_is_refused_in_one_sentence(arguments, says, tmp_path, capsys):
    assert main(["roles", *SMALL[:4], *arguments, "--out", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
