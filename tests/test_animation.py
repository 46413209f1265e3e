"""Animations: a wipe from before to after and back, within every tile."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from rewrite.reports.animation import STEPS, TILE, animated


def test_every_tile_is_wiped_from_before_to_after_and_back():
    before, after = ([Image.new("RGB", (8, 8), colour)] * 5 for colour in ("red", "blue"))
    with Image.open(BytesIO(animated(before, after))) as film:
        assert (film.n_frames, film.info["loop"]) == (2 * STEPS, 0)
        assert film.size[0] > 3 * TILE
        seen = []
        for number in (0, STEPS // 2, STEPS):
            film.seek(number)
            seen.append(np.asarray(film.convert("RGB"))[TILE // 2, [TILE // 4, 3 * TILE // 4]].argmax(axis=1).tolist())
    assert seen == [[0, 0], [2, 0], [2, 2]]  # the greatest colour left and right of the middle of a tile


def test_tiles_before_and_after_are_as_many():
    tile = Image.new("RGB", (8, 8))
    for before, after in (([], []), ([tile], [])):
        with pytest.raises(ValueError, match="as many tiles before as after"):
            animated(before, after)
