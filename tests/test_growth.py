"""Regions grow around peaks, to the extent that marked regions have."""

import numpy as np
import pytest

from rewrite.reports.growth import Growth

SIDE = 48
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]


def hill(row: int, column: int, height: float = 1.0, radius: float = 6.0) -> np.ndarray:
    """A cone of values around a place."""
    away = np.hypot(ROWS - row, COLUMNS - column)
    return height * np.clip(1 - away / (2 * radius), 0, None)


def disk(row: int, column: int, radius: float = 6.0) -> np.ndarray:
    return np.hypot(ROWS - row, COLUMNS - column) < radius


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def test_regions_have_the_extent_of_the_marks():
    growth = Growth.like([hill(14, 14), hill(30, 25)], [disk(14, 14), disk(30, 25)])
    (region,) = growth.regions(hill(20, 33))
    assert iou(region, disk(20, 33)) > 0.9


def test_a_faint_place_grows_as_far_as_a_clear_one():
    marks = [hill(14, 14, 1.0), hill(30, 25, 0.6), hill(24, 24, 0.8)]
    growth = Growth.like(marks, [disk(14, 14), disk(30, 25), disk(24, 24)])
    clear, faint = sorted(growth.regions(hill(12, 12) + hill(34, 34, 0.6)), key=lambda region: not region[12, 12])
    assert iou(clear, disk(12, 12)) > 0.85
    assert iou(faint, disk(34, 34)) > 0.85


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_each_peak_gives_one_region_and_no_two_overlap(share):
    found = Growth(0.3, share).regions(hill(12, 12) + hill(12, 36) + hill(36, 24))
    assert len(found) == 3
    assert np.sum(found, axis=0).max() == 1


def test_a_shoulder_that_the_cut_parts_from_its_peak_is_no_place():
    ridge = np.maximum.reduce([hill(24, 12), hill(24, 30, 0.7), 0.35 * (abs(ROWS - 24) < 2)])
    assert len(Growth(0.3, 0.0).regions(ridge)) == 1
    (region,) = Growth(0.3, 0.5).regions(ridge)
    assert region[24, 12]
    assert not region[24, 30]


def test_a_map_below_the_level_has_no_region():
    assert Growth(0.5, 0.5).regions(np.zeros((SIDE, SIDE))) == []
