"""What a rule wants, as images."""

import numpy as np
import pytest
import torch

from rewrite import Latent, Mask, Region, Rule, Settings
from rewrite.goals.preview import preview
from rewrite.goals.scene import written_values

PLAIN = Settings(refine=0)


def region(seed: int, top: int, left: int, side: int, size: int) -> Region:
    mask = np.zeros((side, side), dtype=bool)
    mask[top : top + size, left : left + size] = True
    return Region(Latent(seed), Mask.from_array(mask))


@pytest.mark.parametrize("layer", ["b8.conv1", "b16.conv0", "b16.conv1"])
def test_a_copy_pasted_onto_itself_is_the_image_itself(tiny_generator, layer):
    place = region(3, 4, 4, 16, 4)
    rule = Rule("r", tiny_generator.fingerprint, layer, copy=(place,), paste=place, settings=PLAIN)
    found = preview(tiny_generator, rule)
    assert list(found) == [Latent(3)]
    torch.testing.assert_close(found[Latent(3)], tiny_generator.sample([3])[0], atol=1e-5, rtol=0)


def test_the_copied_values_stand_where_they_are_wanted(plain_generator):
    copy, places = region(1, 0, 0, 12, 4), (region(2, 4, 6, 12, 4), region(5, 8, 2, 12, 4))
    rule = Rule("r", plain_generator.fingerprint, "conv", copy=(copy,), context=places, settings=PLAIN)
    found = preview(plain_generator, rule)
    layer = plain_generator.layer("conv")
    cuts = [plain_generator.cut("conv", plain_generator.latents([seed])) for seed in (1, 2, 5)]
    source, *targets = [written_values(plain_generator, layer, cut) for cut in cuts]
    for values, cut, seed, (row, column) in zip(targets, cuts[1:], (2, 5), ((2, 3), (4, 1))):
        values[..., row : row + 2, column : column + 2] = source[..., :2, :2]
        expected = plain_generator.resume("conv", cut, values, None)[0].clamp(-1, 1)
        torch.testing.assert_close(found[Latent(seed)], expected, atol=1e-12, rtol=0)
