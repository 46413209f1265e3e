"""Scenes are drawn from known factors, and their labels say what the factors say."""

import numpy as np
import pytest

from dissect.scenes import CONCEPTS, Scene, compose, draw, scenes

SEEDS = range(2_000_000, 2_000_040)


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Scene, np.ndarray, np.ndarray]]:
    return [(compose(seed), *draw(compose(seed))) for seed in SEEDS]


def test_the_same_seed_gives_the_same_scene():
    first, second = scenes(range(5)), scenes(range(5))
    assert compose(3) == compose(3)
    assert all(np.array_equal(one, other) for one, other in zip(first, second))


def test_a_scene_hangs_on_its_seed_alone():
    pictures, labels = scenes([7, 3])
    alone, alone_labels = scenes([3])
    assert np.array_equal(pictures[1], alone[0])
    assert np.array_equal(labels[1], alone_labels[0])


def test_other_seeds_give_other_scenes():
    pictures, _ = scenes(range(6))
    assert len({picture.tobytes() for picture in pictures}) == 6


def test_pictures_and_labels_are_bytes_of_the_size_asked_for():
    picture, labels = draw(compose(0), size=32)
    assert (picture.shape, picture.dtype) == ((32, 32, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((32, 32), np.uint8)


def test_every_concept_occurs_and_nothing_else(drawn):
    shares = np.bincount(np.concatenate([labels.ravel() for _, _, labels in drawn]))
    assert len(shares) == len(CONCEPTS)
    assert (shares > 0).all()


def test_a_concept_that_is_left_out_shows_what_lies_behind_it(drawn):
    for scene, picture, labels in drawn:
        other, others = draw(scene, without=("tree", "trunk"))
        gone = np.isin(labels, [CONCEPTS.index("tree"), CONCEPTS.index("trunk")])
        assert not np.isin(others, [CONCEPTS.index("tree"), CONCEPTS.index("trunk")]).any()
        assert np.array_equal(others[~gone], labels[~gone])
        assert gone.any() == (picture != other).any()


def test_the_labelled_tops_are_those_of_the_towers(drawn):
    for scene, _, labels in drawn:
        for tower in scene.towers:
            above = labels[int(tower.top) - 3, int(tower.x)]
            assert CONCEPTS[above] == tower.kind
        kinds = {CONCEPTS[label] for label in np.unique(labels)} & {"roof", "dome", "spire"}
        assert kinds == {tower.kind for tower in scene.towers}


def test_every_tree_has_its_crown_and_its_colour(drawn):
    for scene, picture, labels in drawn:
        assert (labels == CONCEPTS.index("tree")).any() == bool(scene.trees)
        for tree in scene.trees:
            y, x = int(tree.base - 4 - tree.radius), int(np.clip(tree.x, 0, 63))
            assert CONCEPTS[labels[y, x]] == "tree"
            # Shading adds up to 26 to each colour.
            assert (np.abs(picture[y, x].astype(int) - tree.leaves) <= 30).all()


def test_sky_is_above_and_grass_below_the_horizon(drawn):
    for scene, _, labels in drawn:
        rows = np.arange(64)[:, None] + 0.5
        assert not ((labels == CONCEPTS.index("sky")) & (rows > scene.horizon + 0.5)).any()
        assert not ((labels == CONCEPTS.index("grass")) & (rows < scene.horizon - 0.5)).any()


def test_a_mountain_and_clouds_are_labelled_only_where_there_are_some(drawn):
    for scene, _, labels in drawn:
        assert not ((labels == CONCEPTS.index("mountain")).any() and scene.mountain is None)
        assert (labels == CONCEPTS.index("cloud")).any() <= bool(scene.clouds)


def test_drawing_twice_as_large_gives_the_same_shares_of_labels():
    for seed in SEEDS[:10]:
        small, large = (np.bincount(draw(compose(seed), size)[1].ravel(), minlength=13) / size**2 for size in (64, 128))
        # Pillow widens slanted edges by a part of a pixel, and a pixel is smaller in the larger picture.
        assert np.abs(small - large).max() < 0.01


def test_drawing_twice_as_large_gives_the_same_picture_when_it_is_reduced():
    small, large = (draw(compose(11), size)[0].astype(float) for size in (64, 128))
    reduced = large.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - reduced).mean() < 3
