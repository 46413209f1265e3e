"""Masks as runs, and their share of each cell, against plain averaging."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rewrite.generators.layers import Layer
from rewrite.rules.masks import LARGEST_SIDE, Mask, cover

MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


def on_grid(height: int, width: int, overhang: float = 0.0) -> Layer:
    return Layer("l", "w", "convolution", 1, 1, (height, width), overhang=overhang)


@settings(deadline=None, max_examples=40)
@given(MASKS.filter(np.any))
def test_a_mask_is_its_runs(array):
    mask = Mask.from_array(array)
    assert np.array_equal(mask.array(), array)
    assert sum(length for _, length in mask.runs) == array.sum()
    assert Mask(mask.size, mask.runs) == mask
    top, bottom, left, right = mask.box
    inside = np.zeros_like(array)
    inside[top : bottom + 1, left : right + 1] = True
    assert not (array & ~inside).any()
    assert array[top].any()
    assert array[bottom].any()
    assert array[:, left].any()
    assert array[:, right].any()


def test_runs_go_on_from_one_row_to_the_next():
    assert Mask.from_array(np.ones((3, 4))).runs == ((0, 12),)


@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (3, 0)])
def test_an_empty_mask_is_refused(shape):
    with pytest.raises(ValueError, match="mask"):
        Mask.from_array(np.zeros(shape))


def test_a_mask_of_three_dimensions_is_refused():
    with pytest.raises(ValueError, match="a mask has two dimensions, got 3"):
        Mask.from_array(np.ones((1, 2, 3)))


@pytest.mark.parametrize(
    "runs",
    [
        ((0, 3), (2, 2)),  # overlapping
        ((0, 3), (3, 2)),  # touching: two ways to say the same
        ((5, 2), (0, 2)),  # out of order
        ((0, 2), (0, 2)),
        ((-1, 3),),
        ((10, 3),),
        ((12, 1),),
        ((0, 0),),
        ((3, -2),),
        ((0, 10**30),),
        ((10**30, 1),),
    ],
)
def test_runs_that_are_not_in_order_apart_and_inside_are_refused(runs):
    with pytest.raises(ValueError, match="runs of a mask must be in order, apart, and inside its 12 pixels"):
        Mask((3, 4), runs)


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-3, -4), (LARGEST_SIDE + 1, 4), (4, 10**30)])
def test_a_size_that_no_image_has_is_refused(size):
    with pytest.raises(ValueError, match=f"a mask is 1 to {LARGEST_SIDE} pixels high and wide"):
        Mask(size, ((0, 1),))


@pytest.mark.parametrize(("size", "fits"), [((16, 16), True), ((64, 64), True), ((4, 4), True), ((24, 24), False)])
def test_a_mask_fits_an_image_of_its_size_or_a_whole_multiple(size, fits):
    mask = Mask(size, ((0, 1),))
    if fits:
        mask.check_size((16, 16))
        return
    with pytest.raises(ValueError, match="the image is 16 x 16 pixels, but a mask of 24 x 24 was given"):
        mask.check_size((16, 16))


def test_a_mask_of_other_proportions_does_not_fit():
    with pytest.raises(ValueError, match="a mask of 32 x 16"):
        Mask((32, 16), ((0, 1),)).check_size((16, 16))


@settings(deadline=None, max_examples=25)
@given(MASKS, st.integers(1, 9), st.integers(1, 9))
def test_the_shares_of_all_cells_add_up_to_the_area_of_the_mask(array, height, width):
    shares = cover(array, on_grid(height, width))
    assert shares.shape == (height, width)
    assert shares.min() > -1e-12
    assert shares.max() < 1 + 1e-12
    assert float(shares.mean()) == pytest.approx(array.mean(), abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(MASKS, st.integers(2, 9), st.integers(2, 9))
def test_a_map_that_sticks_out_by_half_a_cell_covers_the_same_area(array, height, width):
    shares = cover(array, on_grid(height, width, overhang=0.5))
    assert shares.shape == (height, width)
    assert float(shares.sum()) == pytest.approx(array.mean() * (height - 1) * (width - 1), abs=1e-10)


def averaged(array: np.ndarray, tall: int, wide: int) -> np.ndarray:
    return array.reshape(array.shape[0] // tall, tall, array.shape[1] // wide, wide).mean(axis=(1, 3))


@settings(deadline=None, max_examples=25)
@given(st.data(), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_where_cells_are_whole_pixels_the_share_is_their_mean(data, height, width, tall, wide):
    array = data.draw(arrays.arrays(bool, (height * tall, width * wide)))
    np.testing.assert_allclose(cover(array, on_grid(height, width)), averaged(array, tall, wide), atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(st.data(), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_with_half_a_cell_of_overhang_cells_are_shifted_by_half_a_cell(data, height, width, tall, wide):
    array = data.draw(arrays.arrays(bool, (height * tall, width * wide)))
    fine = np.pad(array.repeat(2, axis=0).repeat(2, axis=1), ((tall, tall), (wide, wide)))
    shares = cover(array, on_grid(height + 1, width + 1, overhang=0.5))
    np.testing.assert_allclose(shares, averaged(fine, 2 * tall, 2 * wide), atol=1e-12)


def test_a_small_mask_on_a_fine_grid_covers_several_cells_of_one_pixel():
    assert cover(np.array([[True, False]]), on_grid(2, 4)).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]
