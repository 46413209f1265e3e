"""One mixture of units says how much a place looks like the marked ones."""

import numpy as np
import torch

from rewrite import Latent
from rewrite.reports.likeness import Examples

LAYER, ORDINARY = "b16.conv1", range(40, 44)


def mask(row: int, column: int) -> np.ndarray:
    found = np.zeros((16, 16), dtype=bool)
    found[row : row + 4, column : column + 4] = True
    return found


MARKS = {Latent(1): mask(2, 3), Latent(2): mask(8, 8), Latent(5): mask(4, 10)}


def test_an_image_left_out_is_as_an_image_that_was_never_marked(tiny_generator):
    all_of_them = Examples.of(tiny_generator, LAYER, MARKS, ORDINARY)
    fewer = Examples.of(tiny_generator, LAYER, {Latent(1): MARKS[Latent(1)], Latent(5): MARKS[Latent(5)]}, ORDINARY)
    torch.testing.assert_close(all_of_them.mixture(without=1), fewer.mixture(), rtol=1e-8, atol=1e-10)


def test_the_marks_are_more_alike_than_what_stands_beside_them(tiny_generator):
    examples = Examples.of(tiny_generator, LAYER, MARKS, ORDINARY)
    latents = tiny_generator.latents(latent.seed for latent in MARKS)
    maps = examples.likeness(latents, examples.mixture(), (16, 16))
    for found, marked in zip(maps, MARKS.values(), strict=True):
        assert found[marked].mean() > found[~marked].mean()


def test_the_scale_of_the_units_makes_no_difference(tiny_generator, monkeypatch):
    plain, latents = Examples.of(tiny_generator, LAYER, MARKS, ORDINARY), tiny_generator.latents([7])
    expected = plain.likeness(latents, plain.mixture(), (16, 16))
    output = type(tiny_generator).output
    monkeypatch.setattr(type(tiny_generator), "output", lambda *given: 1000 * output(*given))
    scaled = Examples.of(tiny_generator, LAYER, MARKS, ORDINARY)
    np.testing.assert_allclose(scaled.likeness(latents, scaled.mixture(), (16, 16)), expected, rtol=1e-3, atol=1e-4)


def test_maps_have_the_size_that_is_asked_for(tiny_generator):
    examples = Examples.of(tiny_generator, "b8.conv1", MARKS, ORDINARY)
    assert examples.likeness(tiny_generator.latents([3, 4]), examples.mixture(), (32, 32)).shape == (2, 32, 32)
