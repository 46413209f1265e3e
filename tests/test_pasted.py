"""Marked images as a rule wants them to look, and how far an edit takes the images there."""

from dataclasses import replace

import pytest
import torch

from rewrite.goals.pasted import Moved, aims_of, pasted_images
from tests.test_solvers import rule_on


def test_what_is_wanted_is_the_image_with_the_copy_under_the_marks(plain_generator):
    rule = rule_on(plain_generator, "conv")
    for pasted in pasted_images(plain_generator, rule):
        outside = ~pasted.inside
        torch.testing.assert_close(pasted.wanted[:, outside], pasted.before[:, outside])
        assert (pasted.wanted - pasted.before)[:, pasted.inside].abs().max() > 0
        assert 0 < pasted.inside.sum() < pasted.inside.numel()


def test_an_image_that_became_what_is_wanted_went_all_the_way_and_strayed_nowhere(plain_generator):
    for pasted in pasted_images(plain_generator, rule_on(plain_generator, "conv")):
        moved, stayed = pasted.moved(pasted.wanted), pasted.moved(pasted.before)
        assert (moved.arrives, moved.strays) == (pytest.approx(1.0), 0.0)
        assert (stayed.arrives, stayed.strays) == (0.0, 0.0)


def test_a_change_everywhere_strays_by_its_size(plain_generator):
    pasted = pasted_images(plain_generator, rule_on(plain_generator, "conv"))[0]
    assert pasted.moved(pasted.before + 0.25).strays == pytest.approx(0.25, rel=1e-5)


def test_pixels_of_which_one_colour_went_further_than_a_twentieth_of_its_range_have_moved(plain_generator):
    pasted = pasted_images(plain_generator, rule_on(plain_generator, "conv"))[0]
    after, rows = pasted.before.clone(), pasted.before.shape[1] // 2
    after[2, :rows] += 0.11
    after[:, rows:] += 0.09
    outside = ~pasted.inside
    assert pasted.moved(after).moved == pytest.approx(float(outside[:rows].sum() / outside.sum()))


def test_images_together_are_weighed_by_their_pixels():
    halves = [Moved(1.0, 2.0, 12.0, 4), Moved(2.0, 2.0, 0.0, 4)]
    together = Moved.together(halves)
    assert together.arrives == 0.75
    assert together.strays == pytest.approx((12.0 / 24) ** 0.5)


def test_places_that_are_erased_want_their_surroundings(plain_generator):
    rule = replace(rule_on(plain_generator, "conv"), action="erase", copy=())
    for pasted in pasted_images(plain_generator, rule):
        around = pasted.before[:, ~pasted.inside]
        assert (pasted.wanted[:, pasted.inside].amax(dim=1) <= around.amax(dim=1) + 1e-6).all()


def test_contexts_that_only_steer_are_places_of_a_rule_where_nothing_is_asked_for(plain_generator):
    rule = replace(rule_on(plain_generator, "conv"), context_use="direction")
    aims = aims_of(plain_generator, [rule], [1.0])
    assert [aim.latent for aim in aims.values()] == [rule.paste.latent]
    assert len(pasted_images(plain_generator, rule)) == 3
    latents = list(dict.fromkeys(region.latent for region in (*rule.copy, *rule.places)))
    assert [latents[number] for number in aims] == [rule.paste.latent]
