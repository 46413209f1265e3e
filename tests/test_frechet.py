"""The Fréchet distance against its definition, and against cases known in closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from dissect.quality.frechet import Moments, frechet_distance


def exactly(mean, covariance, count: int = 400) -> np.ndarray:
    """Vectors whose sample mean and sample covariance are exactly those given."""
    noise = np.random.RandomState(0).randn(count, len(mean))
    noise -= noise.mean(axis=0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(noise, rowvar=False)))).T
    return white @ np.linalg.cholesky(np.asarray(covariance, float)).T + mean


def random_vectors(seed: int, features: int = 5) -> np.ndarray:
    random = np.random.RandomState(seed)
    return random.randn(60, features) @ random.randn(features, features) + random.randn(features)


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


def test_one_vector_has_no_covariance_and_is_refused():
    with pytest.raises(ValueError, match="two or more vectors on each side, got 1"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(2, 58))
def test_moments_of_two_parts_add_up_to_those_of_the_whole(seed: int, cut: int):
    vectors = random_vectors(seed)
    whole, both = Moments.of(vectors), Moments.of(vectors[:cut]) + Moments.of(vectors[cut:])
    assert both.count == whole.count == 60
    np.testing.assert_allclose(both.mean, whole.mean, atol=1e-12)
    np.testing.assert_allclose(both.covariance, np.cov(vectors, rowvar=False), atol=1e-12)


def test_the_slope_is_that_of_the_distance():
    vectors, reference = random_vectors(1, 4)[:20], Moments.of(random_vectors(2, 4))
    slope, step = reference.slope(vectors), 1e-5
    for place in np.ndindex(*vectors.shape):
        moved = [vectors.copy(), vectors.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (reference.distance(Moments.of(each)) for each in moved)
        assert slope[place] == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-6)


def test_the_slope_is_finite_where_the_covariances_are_singular():
    vectors, reference = random_vectors(1, 6)[:4], random_vectors(2, 6)
    reference[:, 2] = 0
    assert np.isfinite(Moments.of(reference).slope(vectors)).all()


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite numbers"):
        frechet_distance(np.full((4, 2), np.nan), np.zeros((4, 2)))
