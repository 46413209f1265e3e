"""A normalisation that follows a layer is found by what the images show, whatever its class is called."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rewrite import load_generator, wrap
from rewrite.generators.probing import LEAST_SHARE, normalised_after, uniform_share
from rewrite.generators.proggan import ProgressiveGAN
from tests.networks import random_stylegan3

# How far each side keeps from the threshold.
SEEN, HIDDEN = 0.45, 0.05
assert HIDDEN < LEAST_SHARE < SEEN


class Adaptive(nn.Module):
    """Noise and a bias, then a normalisation whose scale and shift follow the latent, written as plain arithmetic."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(0.1 * torch.randn(channels, 1, 1))
        self.register_buffer("scale", 1 + 0.3 * torch.randn(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.leaky_relu(x + self.bias, 0.2)
        mean, power = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), keepdim=True)
        return self.scale * (x - mean) / (power + 1e-5).sqrt()


NORMS = {
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(2, channels),
    "adaptive": Adaptive,
    "none": lambda channels: nn.Identity(),
}


class Small(nn.Module):
    """Two transposed convolutions with a normalisation after the first, before or after its activation."""

    def __init__(self, norm, *, before: bool):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.before = nn.ConvTranspose2d(8, 16, 4), norm(16), before
        self.second, self.last = nn.ConvTranspose2d(16, 12, 4, 2, 1), nn.ConvTranspose2d(12, 3, 4, 2, 1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.first(z[:, :, None, None])
        x = F.relu(self.norm(x)) if self.before else self.norm(F.relu(x))
        return torch.tanh(self.last(F.relu(self.second(x))))


def small(name: str, *, before: bool = True, training: bool = False):
    """Such a network, whose running averages are those of its own values."""
    module = Small(NORMS[name], before=before).requires_grad_(False)
    for _ in range(5):
        module(torch.randn(16, 8))
    return wrap(module.train(training), 8)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("name", "training"), [("instance", False), ("batch", True), ("group", False)])
def test_a_normalisation_is_found_and_only_after_the_layers_that_it_follows(name, training, before):
    generator = small(name, before=before, training=training)
    assert uniform_share(generator, "first") < HIDDEN
    assert normalised_after(generator, "first")
    for layer in ("second", "last"):
        assert uniform_share(generator, layer) > SEEN
        assert not normalised_after(generator, layer)


def test_an_adaptive_normalisation_after_a_bias_of_its_own_is_found_though_no_class_says_so():
    generator = small("adaptive")
    assert normalised_after(generator, "first")
    assert uniform_share(generator, "second") > SEEN


@pytest.mark.parametrize("name", ["batch", "none"])
def test_batch_normalisation_that_keeps_its_averages_is_none(name):
    generator = small(name)
    assert min(uniform_share(generator, layer) for layer in generator.layers) > SEEN


def test_pixel_normalisation_is_found_after_every_layer_but_the_last():
    torch.manual_seed(0)
    network = ProgressiveGAN([8, 8, 8, 6])
    for name, parameter in network.named_parameters():
        nn.init.normal_(parameter, std=0.3 if name.endswith("wscale.b") else 1.0)
    generator = wrap(network.requires_grad_(False), 8)
    *others, last = generator.layers
    assert max(uniform_share(generator, layer) for layer in others) < HIDDEN
    assert uniform_share(generator, last) > SEEN


def test_stylegans_normalise_weights_and_not_values(plain_generator):
    for generator in (load_generator("towers"), random_stylegan3(), plain_generator):
        assert min(uniform_share(generator, layer) for layer in generator.layers) > SEEN


def test_a_layer_that_nothing_reads_is_not_said_to_be_normalised(plain_generator):
    plain_generator.weight("up").zero_()
    assert not normalised_after(plain_generator, "conv")


def test_the_generator_is_as_it_was(plain_generator):
    before = plain_generator.fingerprint
    normalised_after(plain_generator, "conv")
    assert plain_generator.fingerprint == before
