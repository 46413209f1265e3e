"""What is counted in the exact labels of scenes is what they were composed of."""

import numpy as np
import pytest

from dissect.counts import Census, census, coverage, modes, things
from dissect.scenes import CONCEPTS, TOPS, compose, draw, scenes

SEEDS = range(2_000_000, 2_000_120)


@pytest.fixture(scope="module")
def counted() -> list[Census]:
    return [census(labels) for labels in scenes(SEEDS)[1]]


def test_towers_kinds_and_trees_of_scenes_are_counted_right(counted):
    for seed, mine in zip(SEEDS, counted):
        scene = compose(seed)
        assert mine == (tuple(tower.kind for tower in scene.towers), len(scene.trees))


def test_a_scene_drawn_larger_is_counted_the_same():
    for seed in SEEDS[:8]:
        assert census(draw(compose(seed), size=128)[1]) == census(draw(compose(seed))[1])


def test_crumbs_are_not_counted():
    labels = np.zeros((64, 64), np.uint8)
    labels[:3, :3] = CONCEPTS.index("dome")
    assert things(labels, TOPS) == []
    labels[10:16, :6] = CONCEPTS.index("dome")
    assert things(labels, TOPS) == ["dome"]


def test_a_top_of_two_kinds_is_one_top_of_the_kind_that_covers_most():
    labels = np.zeros((64, 64), np.uint8)
    labels[10:13, 10:20] = CONCEPTS.index("dome")
    labels[13:20, 10:20] = CONCEPTS.index("roof")
    assert census(labels) == (("roof",), 0)


def test_an_empty_image_has_no_towers_and_no_trees():
    assert census(np.zeros((64, 64), np.uint8)) == ((), 0)


def test_modes_are_shares_of_images():
    shares = modes([(("roof", "roof"), 1), (("dome",), 1), ((), 5), (("spire", "dome"), 0)])
    assert shares["2 towers"] == 0.5
    assert shares["other towers"] == 0.25
    assert shares["1 trees"] == 0.5
    assert shares["other trees"] == 0.25
    assert (shares["roof"], shares["dome"], shares["spire"]) == (0.25, 0.5, 0.25)


def test_the_modes_of_scenes_follow_the_known_probabilities(counted):
    shares = modes(counted)
    assert shares["other towers"] == shares["other trees"] == 0
    assert shares["2 towers"] == pytest.approx(0.40, abs=0.1)
    assert shares["0 trees"] == pytest.approx(0.15, abs=0.1)


def test_coverage_is_one_for_the_data_and_zero_for_a_mode_that_is_never_drawn():
    data = modes([(("roof",), 1), (("dome",), 2)])
    assert set(coverage(data, data).values()) == {1.0}
    assert coverage(data, modes([(("roof",), 1)]))["dome"] == 0
    assert "other towers" not in coverage(data, data)
