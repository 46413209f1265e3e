"""Fine-tuning, the reference: it lowers its loss, and leaves the generator as it was."""

import numpy as np
import pytest
import torch

from apps.bench.fine_tuning import Tuning, tuned_layer, tuned_network
from rewrite import Latent, Mask, Region, Rule
from rewrite.goals.pasted import Moved, pasted_images
from rewrite.goals.scene import latents_of

METHODS = {"layer": tuned_layer, "network": tuned_network}


@pytest.fixture
def rule(tiny_generator) -> Rule:
    array = np.zeros((16, 16), dtype=bool)
    array[4:10, 4:10] = True
    copy, *places = (Region(Latent(seed), Mask.from_array(array)) for seed in range(1, 12))
    return Rule("shift", tiny_generator.fingerprint, "b8.conv1", copy=(copy,), context=tuple(places), fit="none")


def missed(generator, images) -> float:
    """The loss over all marked images, computed anew."""
    with torch.no_grad():
        drawn = generator.images(latents_of(generator, [image.latent for image in images]))
    wanted = torch.stack([image.wanted for image in images])
    weights = torch.stack([torch.where(image.inside, 5.0, 1.0) for image in images])[:, None]
    return float(((drawn - wanted).abs() * weights).mean())


@pytest.mark.parametrize(("method", "rate", "steps"), [("layer", 0.03, 200), ("network", 0.003, 60)])
def test_fine_tuning_lowers_its_loss_and_brings_the_copy(tiny_generator, rule, method, rate, steps):
    images = pasted_images(tiny_generator, rule)
    before = missed(tiny_generator, images)
    (edit,) = METHODS[method](tiny_generator, rule, Tuning(rate, (steps,)))
    with edit.applied(tiny_generator):
        drawn = tiny_generator.images(latents_of(tiny_generator, [image.latent for image in images])).detach()
        assert missed(tiny_generator, images) < before
    assert Moved.together(image.moved(after) for image, after in zip(images, drawn)).arrives > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_no_steps_change_nothing_and_the_generator_is_left_as_it_was(tiny_generator, rule, method):
    before = tiny_generator.fingerprint
    for stop, edit in zip((0, 2), METHODS[method](tiny_generator, rule, Tuning(0.01, (0, 2)))):
        assert tiny_generator.fingerprint == before
        with edit.applied(tiny_generator):
            assert (tiny_generator.fingerprint == before) == (stop == 0)
    assert tiny_generator.fingerprint == before
    assert all(each.grad is None for each in tiny_generator.module.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_a_stop_on_the_way_is_what_a_run_that_ends_there_gives(tiny_generator, rule, method):
    def image_of(edit):
        with edit.applied(tiny_generator):
            return tiny_generator.sample([99])

    first, _ = METHODS[method](tiny_generator, rule, Tuning(0.01, (3, 6)))
    (only,) = METHODS[method](tiny_generator, rule, Tuning(0.01, (3,)))
    assert torch.equal(image_of(first), image_of(only))
