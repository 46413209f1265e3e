"""Confusion, intersection over union and accuracy of label maps."""

import numpy as np
import pytest

from dissect.units.agreement import accuracy, class_iou, confusion

TRUTH = np.array([[0, 0, 1], [1, 2, 2]], np.uint8)
GUESS = np.array([[0, 1, 1], [1, 2, 0]], np.uint8)


def test_equal_maps_agree_fully():
    matrix = confusion(TRUTH, TRUTH, 3)
    assert class_iou(matrix).tolist() == [1, 1, 1]
    assert accuracy(matrix) == 1


def test_intersection_over_union_is_that_of_the_masks():
    masks = [(c == TRUTH, c == GUESS) for c in range(3)]
    expected = [(one & other).sum() / (one | other).sum() for one, other in masks]
    assert class_iou(confusion(TRUTH, GUESS, 3)) == pytest.approx(expected)


def test_a_class_that_neither_map_holds_has_no_score():
    assert np.isnan(class_iou(confusion(TRUTH, GUESS, 4))[3])


def test_confusions_of_parts_add_up():
    whole = confusion(TRUTH, GUESS, 3)
    assert (confusion(TRUTH[:1], GUESS[:1], 3) + confusion(TRUTH[1:], GUESS[1:], 3) == whole).all()
    assert accuracy(whole) == pytest.approx(4 / 6)


def test_maps_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        confusion(TRUTH, GUESS[:1], 3)
