"""Rotations of a layer's units, against scipy's fractional powers of matrices."""

import json

import numpy as np
import pytest
import scipy.linalg
import torch

from apps.cli import main
from apps.labels import labelled
from dissect.units.counting import dissect
from dissect.units.probe import PictureProbe
from dissect.units.rotation import ALPHAS, RotatedProbe, Rotation, random_rotation
from rewrite import load_classifier
from tests.planted import FOUND, PlantedProbe


@pytest.mark.parametrize("size", [2, 3, 8, 33])
@pytest.mark.parametrize("seed", range(3))
def test_a_random_rotation_is_a_rotation(size, seed):
    matrix = random_rotation(size, seed)
    assert np.allclose(matrix @ matrix.T, np.eye(size), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_random_rotations_are_drawn_evenly():
    entries = np.stack([random_rotation(4, seed) for seed in range(3000)])
    # Each entry of a Haar matrix of size n has mean 0 and variance 1/n.
    assert np.allclose(entries.mean(axis=0), 0, atol=0.04)
    assert np.allclose(entries.var(axis=0), 0.25, atol=0.03)


@pytest.mark.parametrize("size", [2, 5, 16])
@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.8])
def test_powers_are_the_principal_ones(size, alpha):
    matrix = random_rotation(size, 1)
    assert np.allclose(Rotation(matrix).power(alpha), scipy.linalg.fractional_matrix_power(matrix, alpha), atol=1e-8)


@pytest.mark.parametrize("matrix", [np.eye(4), np.diag([-1.0, -1.0, 1.0]), np.diag([-1.0, 1, -1, -1, -1])])
def test_powers_of_half_turns_are_rotations_that_lead_there(matrix):
    rotation = Rotation(matrix)
    half = rotation.power(0.5)
    assert np.allclose(rotation.power(0.0), np.eye(len(matrix)), atol=1e-12)
    assert np.allclose(rotation.power(1.0), matrix, atol=1e-12)
    assert np.allclose(half @ half, matrix, atol=1e-12)
    assert np.linalg.det(half) == pytest.approx(1)


def test_the_way_to_the_rotation_is_even():
    rotation = Rotation(random_rotation(7, 3))
    step = rotation.power(0.25)
    assert np.allclose(step @ step @ step @ step, rotation.power(1.0), atol=1e-10)


def test_no_rotation_leaves_the_units_to_the_bit():
    probe = PlantedProbe()
    rotated = RotatedProbe(probe, ["planted"], (0.0, 1.0)).activations(range(4))
    assert torch.equal(rotated["planted 0"], probe.activations(range(4))["planted"])
    assert torch.isclose(rotated["planted 1"].square().sum(), rotated["planted 0"].square().sum(), rtol=1e-4)


def test_planted_detectors_are_lost_by_turning_away():
    counts = {
        alpha: len(one.scores.detectors())
        for alpha, one in dissect(RotatedProbe(PlantedProbe(), ["planted"]), 192, level_samples=100).items()
    }
    assert counts["planted 0"] == len(set(FOUND)) - 1
    assert counts["planted 1"] <= counts["planted 0"] / 2
    assert list(counts) == [f"planted {alpha}" for alpha in ("0", "0.2", "0.4", "0.6", "0.8", "1")]


def test_units_of_a_classifier_are_turned_on_pictures_with_labels(tmp_path, capsys):
    command = ["rotation", "scenes", "--layer", "relu2", "--samples", "60", "--level-samples", "12"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "rotation.json").read_text())
    (layer,) = document["layers"]
    assert document["images"] == 60
    assert [step["alpha"] for step in layer["rotation"]] == list(ALPHAS)
    # The units themselves are those of the network: a dissection by itself counts the same.
    classifier = load_classifier("scenes")
    pictures = labelled(None, None, classifier, 60)
    probe = PictureProbe(classifier.module, ["relu2"], pictures, classifier.prepare)
    alone = dissect(probe, 60, level_samples=12)["relu2"].scores
    assert layer["rotation"][0]["mean_best_iou"] == pytest.approx(alone.iou.max(axis=1).mean(), rel=1e-5)
    assert layer["rotation"][0]["mean_best_iou"] > layer["random_weights"]["mean_best_iou"]
    assert "random weights" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("scenes", "--truncation", ".5"), "--truncation is for a generator"),
        (("scenes", "--pictures", "nowhere"), "no folder nowhere"),
        (("towers", "--pictures", "scenes"), "--pictures is for a classifier"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, says, tmp_path, capsys):
    layer = "b8.conv1" if arguments[0] == "towers" else "relu2"
    assert main(["rotation", *arguments, "--layer", layer, "--out", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
