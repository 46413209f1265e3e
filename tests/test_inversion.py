"""Inversion: what the generator draws is found again, and the best of all iterates is kept."""

import pytest
import torch
from torch.nn import functional as F

from dissect.quality.features import CallableFeatures
from dissect.quality.inversion import FIRST_START, default_layer, invert

SPACE = CallableFeatures(lambda images: F.avg_pool2d(images, 4), "colours of 4x4")


def test_an_image_of_the_generator_is_found_again(tiny_generator):
    tiny_generator.noise = "none"
    images = tiny_generator.sample([3, 4])
    found = invert(tiny_generator, images, SPACE, "b8.conv1", steps=150)
    assert (found.loss < 0.35 * found.first_loss).all()
    assert (found.drawn - images).abs().mean() < 0.5 * (found.begun - images).abs().mean()


def test_it_starts_from_the_seed_that_comes_closest(tiny_generator):
    images = tiny_generator.sample([FIRST_START + 5])
    found = invert(tiny_generator, images, SPACE, steps=1, starts=8)
    torch.testing.assert_close(found.begun, images, atol=1e-4, rtol=0)
    assert found.loss.item() <= found.first_loss.item() < 1e-3


def test_it_never_ends_worse_than_it_began(tiny_generator):
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    for steps in (1, 7):
        found = invert(tiny_generator, images, SPACE, steps=steps, starts=4)
        assert (found.loss <= found.first_loss).all()
        assert found.drawn.abs().max() <= 1


def test_the_generator_stays_as_it_was(plain_generator):
    before = plain_generator.fingerprint
    images = plain_generator.sample([1]).float()
    space = CallableFeatures(lambda images: images)
    found = invert(plain_generator, images, space, "conv", steps=20, starts=4)
    assert found.loss < found.first_loss
    assert plain_generator.fingerprint == before


def test_the_default_layer_is_the_first_with_eight_cells(tiny_generator, plain_generator):
    assert default_layer(tiny_generator) == "b8.conv0"
    assert default_layer(plain_generator) == "up"


def test_images_of_another_size_are_refused(tiny_generator):
    with pytest.raises(ValueError, match=r"draws images of \(16, 16\), got \(8, 8\)"):
        invert(tiny_generator, torch.zeros(1, 3, 8, 8), SPACE)
