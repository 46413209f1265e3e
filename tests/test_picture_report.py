"""Reports on patches of classifiers: what other classes lose, which pictures are named otherwise, and the card."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from apps.cli import main
from rewrite import (
    ClassifierRule,
    Patch,
    load_classifier,
    measure_pictures,
    model_card,
    report_pictures,
    solve_pictures,
)
from rewrite.classifiers.packaged import save_small
from rewrite.classifiers.reporting import PictureReporting
from rewrite.classifiers.small_cnn import SmallDesign, initialised
from rewrite.reports.pictures import to_pil
from rewrite.reports.report import load_report
from tests.interrupted import end_at
from tests.markup import HOSTILE, assert_shown_as_text

CLASSES = ("red", "green", "blue")


class Held:
    """Pictures in memory."""

    identity = "held"

    def __init__(self, images, classes):
        self.held, self.known = images, classes

    def images(self, numbers):
        return self.held[list(numbers)]

    def classes(self, numbers):
        return self.known[list(numbers)]


def pictures(count: int, seed: int):
    """Pictures in which one colour is brightest."""
    draws = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 16, 16, generator=draws) * 0.8 - 1
    classes = torch.arange(count) % 3
    for image, number in zip(images, classes.tolist(), strict=True):
        image[number] += 0.5
    return images, classes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier that names the brightest colour, a patch by which red counts as green, and pictures as files."""
    folder = tmp_path_factory.mktemp("report")
    network = initialised(SmallDesign(CLASSES, (6,), size=(16, 16)), 0)
    with torch.no_grad():
        network.conv1.weight.zero_()
        network.conv1.bias.fill_(1)
        network.fc.weight.zero_()
        for colour in range(3):
            network.conv1.weight[colour, colour, 1, 1] = 1
            network.fc.weight[colour, colour] = 1
    save_small(folder / "model.safetensors", network, {})
    classifier = load_classifier(folder / "model.safetensors")
    images, classes = pictures(60, 0)
    memory = measure_pictures(classifier, "conv1", [images], len(images))
    keys, wanted = images[classes == 0][:6], images[classes == 1][:6]
    rule = ClassifierRule.of(classifier, "conv1", keys, wanted, name="red is green")
    solve_pictures(classifier, memory, rule).save(folder / "patch.safetensors")
    shown, truth = pictures(30, 1)
    for number, (picture, each) in enumerate(zip(to_pil(shown), truth.tolist(), strict=True)):
        (folder / "pictures" / CLASSES[each]).mkdir(parents=True, exist_ok=True)
        picture.save(folder / "pictures" / CLASSES[each] / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def written(folder):
    command = ["report", str(folder / "patch.safetensors"), "--model", str(folder / "model.safetensors")]
    assert main([*command, "--pictures", str(folder / "pictures"), "--out", str(folder / "out")]) == 0
    return folder / "out"


def test_errors_are_counted_by_class_and_for_classes_that_the_rule_is_not_of(folder, written):
    found = json.loads((written / "report.json").read_text())
    classifier, patch = load_classifier(folder / "model.safetensors"), Patch.load(folder / "patch.safetensors")
    images = torch.stack([_read(path) for path in sorted((folder / "pictures").glob("*/*.png"))])
    truth = torch.tensor([2] * 10 + [1] * 10 + [0] * 10)
    before = classifier.predict(images)
    with patch.applied(classifier):
        after = classifier.predict(images)
    assert found["pictures"] == 30
    assert found["error_before"] == pytest.approx(float((before != truth).double().mean()))
    assert found["own_classes"] == ["red", "green"]
    red, green, blue = found["classes"]
    assert [row["class"] for row in found["classes"]] == list(CLASSES)
    assert red["broken"] >= 8
    assert red["error_after"] == pytest.approx(float((after[20:] != 0).double().mean()))
    assert red["error_after_interval"][0] < red["error_after"] <= red["error_after_interval"][1]
    assert not blue["of_rule"]
    assert found["other_classes"]["pictures"] == blue["pictures"] == 10
    assert found["other_classes"]["error_after"] == blue["error_after"]
    assert found["pairs"] == [
        {"rule": "red is green", "pictures": 6, "before": 0, "after": 6, "mended": 6, "broken": 0}
    ]
    assert len(found["renamed"]) == int((before != after).sum())
    assert green["mended"] == 0


def test_the_page_shows_what_is_named_otherwise_and_needs_nothing_else(written):
    page = (written / "report.html").read_text()
    found = json.loads((written / "report.json").read_text())
    assert page.count("<figure>") == len(found["renamed"])
    assert "red: red, now green" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    with Image.open(written / "before-after.png") as sheet:
        assert sheet.width > 100


def test_names_are_shown_as_text(folder, tmp_path):
    network = load_classifier(folder / "model.safetensors", classes=(HOSTILE, "green", "blue"))
    images, classes = pictures(12, 3)
    report_pictures(network, Patch.load(folder / "patch.safetensors"), Held(images, classes), range(12)).save(tmp_path)
    assert_shown_as_text((tmp_path / "report.html").read_text())


def test_an_ended_report_goes_on_to_the_same_files(folder, written, monkeypatch, capsys):
    command = ["report", str(folder / "patch.safetensors"), "--model", str(folder / "model.safetensors")]
    command += ["--pictures", str(folder / "pictures"), "--out", str(folder / "again")]
    monkeypatch.setattr("rewrite.storage.ledger.SHARD", 8)
    calls = end_at(3, PictureReporting, "_names", monkeypatch)
    assert main(command) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert [path.name for path in (folder / "again").iterdir()] == ["unfinished.safetensors"]
    assert main(command) == 0
    assert calls[3][0] == 16
    for path in written.iterdir():
        assert (folder / "again" / path.name).read_bytes() == path.read_bytes()
    assert not (folder / "again" / "unfinished.safetensors").exists()


def test_a_card_of_a_classifier_holds_the_figures_of_its_report(folder, written, tmp_path):
    command = ["export", str(folder / "model.safetensors"), str(folder / "patch.safetensors")]
    command += ["--out", str(tmp_path / "edited.safetensors"), "--card", str(tmp_path / "README.md")]
    assert main([*command, "--report", str(written)]) == 0
    card, found = (tmp_path / "README.md").read_text(), json.loads((written / "report.json").read_text())
    assert "pipeline_tag: image-classification" in card
    assert "### red is green" in card
    assert "- Pairs of pictures: 6" in card
    red = found["classes"][0]
    assert f"| red | 10 | {red['error_before']:.3g} |" in card
    assert "| classes that the rules are not of | 10 |" in card
    assert 'classifier = load_classifier("edited.safetensors")' in card
    assert load_classifier(tmp_path / "edited.safetensors").classes == CLASSES


def test_a_card_without_a_report_makes_nothing_up_and_refuses_one_on_other_patches(folder, written):
    classifier, patch = load_classifier(folder / "model.safetensors"), Patch.load(folder / "patch.safetensors")
    assert "Errors: not measured." in model_card(classifier, patch)
    with pytest.raises(ValueError, match="not measured with these patches"):
        model_card(classifier, patch, strengths=[0.5], report=load_report(written))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--seeds", "0-3"), "--seeds is for patches of a generator"),
        (("--segmenter", "none"), "--segmenter is for patches of a generator"),
        (("--pictures", "nowhere"), "no folder nowhere"),
        (("--test", "0"), "at least one picture of each class"),
        (("--strength", "nan"), "finite"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(folder, arguments, says, tmp_path, capsys):
    command = ["report", str(folder / "patch.safetensors"), "--model", str(folder / "model.safetensors")]
    given = [] if "--pictures" in arguments else ["--pictures", str(folder / "pictures")]
    assert main([*command, *given, *arguments, "--out", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_options_of_classifiers_are_refused_for_generators(files, tmp_path, capsys):
    command = ["report", str(files["patch"]), "--model", str(files["model"]), "--pictures", str(tmp_path)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "--pictures is for patches of a classifier" in capsys.readouterr().err


def _read(path):
    with Image.open(path) as picture:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1
