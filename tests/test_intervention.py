"""Units switched off and on: what reaches the image, and what an intervention refuses."""

import pytest
import torch
from torch import nn

from dissect.causes.intervention import Intervention, Prefix
from rewrite import wrap
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from tests.networks import PlainGenerator, random_stylegan2, random_stylegan3


@pytest.fixture(params=["stylegan2", "stylegan3", "plain"])
def generator(request):
    makers = {
        "stylegan2": lambda: StyleGAN2Generator(random_stylegan2()),
        "stylegan3": random_stylegan3,
        "plain": PlainGenerator,
    }
    return makers[request.param]()


def test_without_an_intervention_every_layer_gives_the_image_itself(generator):
    seeds = (3, 1, 4)
    for layer in generator.layers:
        images = Prefix.of(generator, layer, seeds).images()
        assert torch.allclose(images, generator.sample(seeds), atol=1e-6), layer


def test_an_image_after_an_intervention_does_not_hang_on_its_batch(generator):
    layer = list(generator.layers)[1]
    off = Intervention.off([0])
    together = Prefix.of(generator, layer, (5, 6, 7, 8, 9)).images(off)
    for number, seed in enumerate((5, 6, 7, 8, 9)):
        alone = Prefix.of(generator, layer, (seed,)).images(off)
        assert torch.allclose(alone[0], together[number], atol=1e-6)


def test_a_unit_that_is_off_is_the_same_as_a_network_that_never_reads_it():
    """The next plain layer without the weights of that unit is an independent reference."""
    generator = PlainGenerator()
    wanted = Prefix.of(generator, "conv", (2,)).images(Intervention.off([1]))
    generator.module["grouped"].weight[:2, 1] = 0
    assert torch.allclose(generator.sample([2]), wanted, atol=1e-12)


def test_interventions_move_only_their_units_and_their_cells():
    output = torch.randn(2, 3, 4, 5)
    mask = torch.zeros(4, 5)
    mask[1, 2], mask[2, 2] = 1.0, 0.25
    moved = Intervention((2,), (7.0,), mask=mask).on(output)
    assert torch.equal(moved[:, :2], output[:, :2])
    assert torch.equal(moved[:, 2, 1, 2], torch.full((2,), 7.0))
    assert torch.allclose(moved[:, 2, 2, 2], 0.75 * output[:, 2, 2, 2] + 1.75)
    moved[:, 2, 1:3, 2] = output[:, 2, 1:3, 2]
    assert torch.equal(moved, output)


def test_scaling_multiplies_and_zero_is_off():
    output = torch.randn(1, 2, 3, 3)
    assert torch.allclose(Intervention.scaled([1], 2.5).on(output)[:, 1], 2.5 * output[:, 1])
    assert torch.equal(Intervention.scaled([1], 0.0).on(output), Intervention.off([1]).on(output))


def test_later_interventions_lie_over_earlier_ones():
    """The formula of compositing with over: α = 1 − (1 − α₁)(1 − α₂)."""
    output = torch.randn(1, 1, 2, 2)
    below, above = Intervention((0,), (2.0,), 0.5), Intervention((0,), (-1.0,), 0.25)
    alpha = 1 - (1 - 0.5) * (1 - 0.25)
    value = (2.0 * 0.5 * (1 - 0.25) + -1.0 * 0.25) / alpha
    assert torch.allclose(above.on(below.on(output)), (1 - alpha) * output + alpha * value)


def test_units_of_a_wrapped_linear_layer_are_switched_off():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 48), nn.Unflatten(1, (3, 4, 4)))
    generator = wrap(module, latents=4)
    wanted = Prefix.of(generator, "0", (1, 2)).images(Intervention.off([3]))
    with torch.no_grad():
        module[0].weight[3], module[0].bias[3] = 0, 0
    assert torch.allclose(generator.sample([1, 2]), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Intervention.off([1, 1]), "different numbers"),
        (lambda: Intervention.off([-1]), "different numbers"),
        (lambda: Intervention((0, 1), (1.0,)), "one value"),
        (lambda: Intervention((0,), (float("nan"),)), "finite"),
        (lambda: Intervention.off([9]).on(torch.zeros(1, 2, 3, 3)), "units 0 to 1"),
        (lambda: Intervention.off([0], torch.zeros(2, 3)).on(torch.zeros(1, 2, 3, 3)), "mask has"),
        (lambda: Prefix.of(PlainGenerator(), "conv", ()), "at least one image"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
