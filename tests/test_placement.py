"""A copy that goes to its place: chosen, moved, and scaled to fit."""

import numpy as np
import pytest
import torch

from rewrite import Latent, Mask, Region, Rule
from rewrite.generators.layers import Layer
from rewrite.goals.placement import LARGEST_SCALE, UNSCALED, Placement, fitting_scale

LAYER = Layer("l", "l.weight", "convolution", 2, 2, (16, 16), kernel=(3, 3), padding=(1, 1))


def region(top: int, left: int, height: int, width: int, seed: int = 0, side: int = 32) -> Region:
    array = np.zeros((side, side), dtype=bool)
    array[top : top + height, left : left + width] = True
    return Region(Latent(seed), Mask.from_array(array))


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return rows.min(), columns.min(), rows.max() + 1 - rows.min(), columns.max() + 1 - columns.min()


@pytest.mark.parametrize("anchor", ["centre", "bottom"])
def test_a_copy_that_is_scaled_fills_the_box_of_its_place(anchor):
    placed = Placement.between(region(4, 6, 8, 10), region(12, 10, 12, 8), anchor, "box")
    assert box(placed.mask((32, 32))) == (12, 10, 12, 8)


def test_a_copy_that_is_not_scaled_keeps_its_size_and_meets_the_anchor():
    placed = Placement.between(region(4, 6, 8, 10), region(12, 10, 12, 8), "bottom", "none")
    assert box(placed.mask((32, 32))) == (16, 9, 8, 10)


def test_a_scaled_picture_shows_the_copys_left_half_in_the_places_left_half():
    picture = torch.zeros(3, 32, 32)
    picture[:, 4:12, 6:11] = 1.0
    placed = Placement.between(region(4, 6, 8, 10), region(12, 10, 12, 14), "centre", "box")
    moved, mask = placed.pixels(picture), torch.from_numpy(placed.mask((32, 32)))
    assert moved[:, 13:23, 11:16].min() > 0.9
    assert moved[:, 13:23, 18:23].max() < 0.1
    assert mask[12:24, 10:24].all()


def test_cells_of_a_layer_move_as_the_pixels_do():
    rows = torch.arange(16, dtype=torch.float64)[None, :, None].expand(2, 16, 16)
    placed = Placement.between(region(4, 6, 8, 10), region(12, 10, 12, 8), "centre", "box")
    moved = placed.cells(rows, LAYER)
    # The middle of the copy lies at row 8 of 32 pixels, that of the place at row 18, where rows are 1.5 times as tall.
    for row in range(6, 12):
        assert moved[0, row, 6] == pytest.approx((row + 0.5 - 9) / 1.5 + 4 - 0.5)


def test_scales_are_bounded_and_a_dab_only_says_where():
    copy = region(4, 4, 10, 10).mask
    assert fitting_scale(copy, region(0, 0, 20, 20).mask) == (LARGEST_SCALE, LARGEST_SCALE)
    assert fitting_scale(copy, region(0, 0, 2, 2).mask) == UNSCALED
    assert fitting_scale(copy, region(0, 0, 8, 10).mask) == pytest.approx((0.8, 1.0))


def test_of_several_copies_the_one_that_is_scaled_least_is_taken():
    copies = (region(2, 2, 6, 6, seed=1), region(2, 2, 9, 9, seed=2), region(2, 2, 14, 14, seed=3))
    place = region(12, 12, 10, 10)
    rule = Rule("r", "m", "l", copy=copies, context=(place,), fit="box")
    assert Placement.of(LAYER, rule, place).copy.latent.seed == 2


def test_of_several_copies_the_one_goes_to_a_place_that_covers_it_best():
    tall, wide, place = region(2, 2, 12, 6, seed=1), region(2, 2, 6, 12, seed=2), region(16, 10, 6, 12)
    corner = Mask.from_array(np.triu(np.ones((32, 32), dtype=bool)) & wide.mask.array())
    rule = Rule("r", "m", "l", paste=place, copy=(tall, Region(Latent(3), corner), wide), fit="box")
    assert Placement.of(LAYER, rule, place).copy == wide
