"""Regions of a concept in generated images become regions of a rule."""

import numpy as np
import torch

from dissect.regions import things
from dissect.sources.contract import CallableSource
from rewrite.reports.concepts import Concepts


def label_bright(images: torch.Tensor, numbers=()) -> np.ndarray:
    """Call a pixel a tree where the image is brighter than its mean."""
    grey = images.mean(dim=1)
    return (grey > grey.mean(dim=(1, 2), keepdim=True)).to(torch.uint8).numpy()


BRIGHT = CallableSource(label_bright, Concepts.of(("sky", "tree")))


def test_regions_are_connected_and_together_cover_the_concept(tiny_generator):
    found = things(tiny_generator, BRIGHT, ["tree"], range(5), least=1, inside=False)
    for seed in range(5):
        labels = label_bright(tiny_generator.sample([seed]))[0]
        masks = [thing.region.mask.array() for thing in found if thing.region.latent.seed == seed]
        assert np.array_equal(np.sum(masks, axis=0), labels)


def test_small_regions_and_those_cut_off_by_the_border_are_left_out(tiny_generator):
    everything = things(tiny_generator, BRIGHT, ["tree"], range(20), least=1, inside=False)
    chosen = things(tiny_generator, BRIGHT, ["tree"], range(20), least=5)
    assert 0 < len(chosen) < len(everything)
    for thing in chosen:
        top, bottom, left, right = thing.region.mask.box
        assert thing.pixels >= 5
        assert min(top, left) > 0
        assert max(bottom, right) < 15
