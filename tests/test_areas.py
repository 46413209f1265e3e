"""Areas of concepts, and the Fréchet segmentation distance that is made of them."""

import numpy as np
import pytest

from dissect.quality.areas import areas
from dissect.quality.frechet import frechet_distance
from dissect.scenes import CONCEPTS, scenes


def test_areas_are_percentages_of_each_image():
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[1, :2] = 2
    assert areas(labels, 3).tolist() == [[100, 0, 0], [50, 0, 50]]


def test_areas_of_scenes_add_up_to_a_hundred():
    _, labels = scenes(range(10))
    shares = areas(labels, len(CONCEPTS))
    assert shares.shape == (10, len(CONCEPTS))
    np.testing.assert_allclose(shares.sum(axis=1), 100)


def test_the_distance_of_a_sample_to_itself_is_zero():
    _, labels = scenes(range(30))
    shares = areas(labels, len(CONCEPTS))
    assert frechet_distance(shares, shares) == pytest.approx(0, abs=1e-6)


def test_a_concept_that_vanishes_is_seen():
    _, labels = scenes(range(60))
    without = np.where(labels == CONCEPTS.index("tree"), CONCEPTS.index("grass"), labels)
    shares, changed = areas(labels, len(CONCEPTS)), areas(without, len(CONCEPTS))
    trees = shares[:, CONCEPTS.index("tree")].mean()
    assert frechet_distance(shares, changed) > trees**2
