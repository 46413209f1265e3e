"""Weights that are computed, by hooks or by parametrisations, are edited and come back."""

import pytest
import torch
from torch.nn.utils import parametrizations

from dissect.causes.ablation import ablation_patch
from rewrite import Patch, Stack, wrap
from rewrite.patch import base_of
from tests.networks import patch_of
from tests.user_modules import GENERATORS, Normed, frozen

COMPUTED = ("new_weight", "old_weight", "new_spectral", "old_spectral")


@pytest.mark.parametrize("layer", COMPUTED)
def test_a_computed_weight_becomes_just_the_edited_one_and_its_state_dict_holds_it(layer):
    generator = GENERATORS["normed"]()
    described, before = generator.layer(layer), generator.weight(layer).clone()
    patch = patch_of(generator, layer)
    added = patch.change(described).float()
    elsewhere = frozen(Normed()).eval()
    with Stack(generator).holding([(patch, 0.5), (patch, 0.25)]):
        torch.testing.assert_close(generator.weight(layer), before + 0.75 * added, rtol=1e-5, atol=1e-6)
        images = generator.sample([1, 2])
        elsewhere.load_state_dict(generator.module.state_dict())
    assert torch.equal(wrap(elsewhere, 5).sample([1, 2]), images)
    assert torch.equal(generator.weight(layer), before)


@pytest.mark.parametrize("layer", COMPUTED)
def test_a_unit_of_a_computed_weight_is_switched_off_and_on_again(layer):
    generator = GENERATORS["normed"]()
    before, images = generator.weight(layer).clone(), generator.sample([1])
    with ablation_patch(generator, layer, [0]).applied(generator):
        assert generator.layer(layer).matrix(generator.weight(layer))[0].abs().max() < 1e-6
        assert generator.sample([1]).isfinite().all()
    assert torch.equal(generator.weight(layer), before)
    assert torch.equal(generator.sample([1]), images)


def test_an_edit_that_a_spectral_norm_cannot_hold_is_refused_and_nothing_is_changed():
    generator = GENERATORS["normed"]()
    described, weight = generator.layer("new_spectral"), generator.weight("new_spectral")
    about = {"base": base_of(weight), "model": generator.fingerprint}
    away = Patch.from_change(described, -2 * described.matrix(weight), **about)
    other = patch_of(generator, "new_weight")
    stack, images = Stack(generator), generator.sample([1])
    with pytest.raises(ValueError, match="leaves nothing of the largest direction"):
        stack.hold([(other, 1.0), (away, 1.0)])
    assert torch.equal(generator.sample([1]), images)


def test_computed_weights_that_cannot_be_set_say_why():
    training = wrap(frozen(Normed()), 5)
    assert sorted(training.left_out) == ["new_spectral", "old_spectral"]
    assert "moves at each run in training: call eval() on the module first" in training.left_out["new_spectral"]
    module = frozen(Normed()).eval()
    parametrizations.orthogonal(module.lift)
    assert "computed from others: fold it" in wrap(module, 5).left_out["lift"]
