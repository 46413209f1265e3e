"""`rewrite compare`: one table of what the units of several networks detect."""

import csv
import io
import json

import numpy as np
import pytest
import torch

from apps.cli import main
from apps.commands.compare import page
from dissect.sources.contract import CallableSource
from dissect.sources.pictures import LabelledBy
from dissect.units.counting import dissect
from dissect.units.probe import PictureProbe
from rewrite import load_classifier
from rewrite.reports.concepts import Concepts
from tests.markup import HOSTILE, assert_shown_as_text
from tests.test_grey import write_idx
from tests.test_roles import pictures as given_pictures


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("compare")
    command = ["compare", "scenes", "scenes-random", "--layer", "relu4", "--layer", "relu5", "--samples", "24"]
    assert main([*command, "--out", str(out)]) == 0
    return out


def test_every_layer_of_every_network_is_a_row_and_training_shows_in_it(written):
    document = json.loads((written / "compare.json").read_text())
    assert [(row["layer"], row["network"]) for row in document["rows"]] == [
        (layer, network) for layer in ("relu4", "relu5") for network in ("scenes", "scenes-random")
    ]
    trained, random = document["rows"][:2]
    assert trained["mean_best_iou"] > 2 * random["mean_best_iou"]
    table = list(csv.DictReader(io.StringIO((written / "compare.csv").read_text())))
    assert [int(row["detectors"]) for row in table] == [row["detectors"] for row in document["rows"]]


def test_the_page_needs_nothing_else_and_shows_names_as_text(written):
    text = (written / "compare.html").read_text()
    assert text.count("<svg") == 3
    document = json.loads((written / "compare.json").read_text())
    hostile = {**document, "networks": [HOSTILE], "rows": [{**document["rows"][0], "network": HOSTILE}]}
    assert_shown_as_text(page(hostile))


def test_pictures_are_labelled_by_a_source_as_by_their_own_labels():
    shown = given_pictures(10)
    bright = CallableSource(lambda images, numbers: (images.mean(dim=1) > 0).long(), Concepts.of(("dark", "bright")))
    labelled = LabelledBy(shown, bright)
    classifier = load_classifier("scenes-random")
    probe = PictureProbe(classifier.module, ["relu1"], labelled, classifier.prepare)
    found = dissect(probe, 8, level_samples=2)["relu1"]
    assert found.scores.concepts.names == ("dark", "bright")
    assert torch.equal(labelled.labels([3])[0, 0], (shown.images([3])[0].mean(dim=0) > 0).short())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("scenes", "scenes", "--layer", "relu4"), "two or more at a time, got 1"),
        (("scenes", "scenes-norm", "--layer", "norm4"), "no layer 'norm4'"),
        (("scenes", "nothing", "--layer", "relu4"), "no built-in classifier of that name"),
        (("scenes", "scenes-norm", "--layer", "relu4", "--segmenter", "nothing"), "a segmenter is"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(arguments, says, tmp_path, capsys):
    assert main(["compare", *arguments, "--samples", "8", "--out", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err


def test_pictures_without_labels_need_a_segmenter(tmp_path, capsys):
    write_idx(tmp_path / "pictures", np.zeros((4, 8, 8)), np.arange(4))
    command = ["compare", "scenes", "scenes-norm", "--layer", "relu4", "--pictures", str(tmp_path / "pictures")]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "name what labels them with --segmenter" in capsys.readouterr().err
