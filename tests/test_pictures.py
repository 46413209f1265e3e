"""Images become pictures that can be read."""

import numpy as np
import pytest
import torch
from PIL import Image

from rewrite.reports.pictures import (
    BACKGROUND,
    CAPTION,
    LINE,
    MARGIN,
    SPACE,
    before_after,
    change_map,
    grid,
    heat_colours,
    outlined,
    overlay,
    pixels,
    png,
    save_picture,
    show,
    to_pil,
)


def tiles(count: int, size: tuple[int, int] = (64, 64)) -> list[Image.Image]:
    return [Image.new("RGB", size, (10 * number, 0, 0)) for number in range(count)]


def test_minus_one_is_black_one_is_white_and_what_overshoots_is_clipped():
    images = torch.tensor([-1.0, 0.0, 1.0, -7.0, 7.0]).expand(1, 3, 2, 5)
    assert pixels(images)[0, 0, :, 0].tolist() == [0, 128, 255, 0, 255]


def test_pixels_keep_rows_columns_and_colours_in_place():
    images = torch.full((1, 3, 4, 6), -1.0)
    images[0, 2, 1, 5] = 1.0
    picture = to_pil(images)[0]
    assert picture.size == (6, 4)
    assert picture.getpixel((5, 1)) == (0, 0, 255)


def test_heat_colours_are_ordered_by_lightness():
    colours = heat_colours(np.linspace(0, 1, 50)).astype(float)
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()
    assert lightness[0] < 60
    assert lightness[-1] > 215


def test_heat_outside_its_range_takes_the_colour_of_the_end():
    assert np.array_equal(heat_colours(np.array([-1.0, 2.0])), heat_colours(np.array([0.0, 1.0])))


def test_an_outline_goes_around_a_region_and_leaves_its_inside_as_it_was():
    mask = np.zeros((16, 16), dtype=bool)
    mask[4:12, 4:12] = True
    drawn = np.asarray(outlined(torch.zeros(3, 16, 16), [mask], tile=64)).astype(int)
    assert drawn.shape == (64, 64, 3)
    coloured = np.ptp(drawn, axis=-1) > 0
    assert not coloured[20:44, 20:44].any()
    assert not coloured[:12].any()
    assert coloured[16:18, 16:48].all()
    assert coloured[14:16, 16:48].all()


def test_an_overlay_colours_only_where_the_rule_would_fire():
    heat = torch.zeros(8, 8)
    heat[2, 3] = 1.0
    laid = np.asarray(overlay(torch.zeros(3, 8, 8), heat)).astype(int)
    coloured = np.ptp(laid, axis=-1) > 0
    assert coloured[2, 3]
    assert coloured.sum() == 1


def test_a_grid_folds_after_the_last_column_and_enlarges_by_whole_numbers():
    sheet = grid(tiles(5), [f"seed {i}" for i in range(5)], columns=3)
    assert sheet.size == (3 * (128 + LINE) - LINE + 2 * SPACE, 2 * (128 + CAPTION) + 3 * SPACE)
    row, column = 1, 1
    middle = (SPACE + column * (128 + LINE) + 64, SPACE + row * (128 + CAPTION + SPACE) + 64)
    assert sheet.getpixel(middle) == (40, 0, 0)


def test_large_tiles_are_reduced():
    assert grid(tiles(1, (1024, 512))).size == (256 + 2 * SPACE, 128 + 2 * SPACE)


def test_a_strip_shows_each_seed_before_above_after():
    white, black = [Image.new("RGB", (128, 128), colour) for colour in ("white", "black")]
    sheet = before_after([black] * 3, [white] * 3, columns=2)
    left, top = SPACE + MARGIN + 64, SPACE + 64
    assert sheet.getpixel((left, top)) == (0, 0, 0)
    assert sheet.getpixel((left, top + 128 + LINE)) == (255, 255, 255)
    second_fold = top + 2 * (128 + LINE) - LINE + SPACE
    assert sheet.getpixel((left, second_fold)) == (0, 0, 0)
    assert sheet.getpixel((left + 128 + LINE, second_fold)) == BACKGROUND


def test_captions_are_written_and_shortened_where_they_do_not_fit():
    plain = grid(tiles(1), [" "])
    for caption in ("seed 7", "a name that is far too long for one small tile"):
        written = np.asarray(grid(tiles(1), [caption]))
        changed = (written != np.asarray(plain)).any(axis=-1)
        rows, columns = np.nonzero(changed)
        assert rows.min() >= SPACE + 128
        assert columns.min() >= SPACE
        assert columns.max() < SPACE + 128


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "at least one tile"),
        ((tiles(2), ["only one"]), "one length, got 1 and 2"),
        ((tiles(1) + tiles(1, (32, 32)), ["a", "b"]), "one size, got 32 x 32 and 64 x 64"),
    ],
)
def test_a_grid_that_cannot_be_drawn_says_why(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid(*arguments)


def test_a_picture_is_written_whole_and_read_back_the_same(tmp_path):
    picture = to_pil(torch.rand(1, 3, 9, 7) * 2 - 1)[0]
    save_picture(tmp_path / "picture.png", picture)
    with Image.open(tmp_path / "picture.png") as read:
        assert np.array_equal(np.asarray(read), np.asarray(picture))
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
    assert png(picture) == (tmp_path / "picture.png").read_bytes()


def test_a_picture_must_be_called_png(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.png"):
        save_picture(tmp_path / "picture.jpg", tiles(1)[0])


def test_a_map_without_any_change_is_dark():
    assert np.array_equal(np.asarray(change_map(np.zeros((3, 3)))), heat_colours(np.zeros((3, 3))))


def test_images_are_shown_in_rows_with_their_captions():
    images = torch.linspace(-1, 1, 3 * 3 * 64 * 64).reshape(3, 3, 64, 64)
    shown = show(images, ["a", "b", "c"], columns=2, tile=64)
    assert shown.size == (2 * SPACE + 2 * 64 + LINE, 3 * SPACE + 2 * (64 + CAPTION))
    corner = np.asarray(shown)[SPACE : SPACE + 64, SPACE : SPACE + 64]
    assert np.array_equal(corner, np.asarray(to_pil(images)[0]))
    assert show(images, columns=2, tile=64).size[1] == shown.size[1] - 2 * CAPTION


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 8, 8),
        torch.zeros(2, 1, 8, 8),
        torch.zeros(2, 5, 8, 8),
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
    ],
    ids=["one image", "grey", "five channels", "bytes"],
)
def test_what_is_no_images_in_colour_is_refused(images):
    with pytest.raises(ValueError, match=r"of shape \(images, 3, height, width\), got torch\.\w+ of shape \("):
        to_pil(images)
    with pytest.raises(ValueError, match="of shape"):
        show(images)
