"""Areas and their Fréchet distance, against the definition and against cases known in closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from dissect.areas import areas, frechet_distance
from dissect.scenes import CONCEPTS, scenes


def exactly(mean, covariance, count: int = 400) -> np.ndarray:
    """Vectors whose sample mean and sample covariance are exactly those given."""
    noise = np.random.RandomState(0).randn(count, len(mean))
    noise -= noise.mean(axis=0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(noise, rowvar=False)))).T
    return white @ np.linalg.cholesky(np.asarray(covariance, float)).T + mean


def random_vectors(seed: int, features: int = 5) -> np.ndarray:
    random = np.random.RandomState(seed)
    return random.randn(60, features) @ random.randn(features, features) + random.randn(features)


def test_areas_are_percentages_of_each_image():
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[1, :2] = 2
    assert areas(labels, 3).tolist() == [[100, 0, 0], [50, 0, 50]]


def test_areas_of_scenes_add_up_to_a_hundred():
    _, labels = scenes(range(10))
    shares = areas(labels, len(CONCEPTS))
    assert shares.shape == (10, len(CONCEPTS))
    np.testing.assert_allclose(shares.sum(axis=1), 100)


def test_the_distance_of_gaussians_with_one_covariance_is_that_of_their_means():
    covariance = [[2, 0.5], [0.5, 1]]
    assert frechet_distance(exactly([0, 0], covariance), exactly([3, 4], covariance)) == pytest.approx(25)


def test_the_distance_of_gaussians_on_a_line_is_known():
    assert frechet_distance(exactly([1], [[4]]), exactly([3], [[25]])) == pytest.approx(2**2 + (5 - 2) ** 2)


def test_covariances_that_commute_add_the_squared_differences_of_their_deviations():
    distance = frechet_distance(exactly([0, 0, 0], np.diag([1, 4, 9])), exactly([0, 0, 0], np.diag([16, 4, 1])))
    assert distance == pytest.approx((1 - 4) ** 2 + 0 + (3 - 1) ** 2)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_distance_is_that_of_the_matrix_square_root(seed: int):
    first, second = random_vectors(seed), random_vectors(seed + 1)
    one, other = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    apart = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    expected = apart + np.trace(one + other - 2 * linalg.sqrtm(one @ other).real)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_distance_is_symmetric_and_never_negative(seed: int):
    first, second = random_vectors(seed), random_vectors(seed + 1)
    assert frechet_distance(first, second) >= 0
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))


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


def test_one_vector_has_no_covariance_and_is_refused():
    with pytest.raises(ValueError, match="two or more vectors on each side, got 1"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))
