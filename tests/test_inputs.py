"""Modules of several inputs are wrapped, and what cannot be edited or run is said in a sentence."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from rewrite import Latent, Mask, Region, Rule, Settings, measure, solve, wrap


class Conditional(nn.Module):
    """Noise and one of three classes, by order or by name, to images of 16x16."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.embed, self.fc = nn.Embedding(3, 4), nn.Linear(6 + 4, 6 * 16)
        self.up = nn.ConvTranspose2d(6, 5, 4, 2, 1)
        self.out = nn.ConvTranspose2d(5, 3, 4, 2, 1)

    def forward(self, noise, labels):
        x = self.fc(torch.cat([noise, self.embed(labels)], dim=1)).view(-1, 6, 4, 4)
        return torch.tanh(self.out(torch.relu(self.up(torch.relu(x)))))


def noise(seeds) -> torch.Tensor:
    return torch.stack([torch.randn(6, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def of_class(number: int, form):
    """A function from seeds to the inputs of one class."""
    return lambda seeds: form(noise=noise(seeds), labels=torch.full([len(seeds)], number))


FORMS = {"tuple": lambda noise, labels: (noise, labels), "dict": dict}


@pytest.mark.parametrize("form", FORMS)
def test_a_module_of_noise_and_classes_is_drawn_and_cut(form):
    module = Conditional().eval()
    generator = wrap(module, of_class(2, FORMS[form]))
    with torch.no_grad():
        expected = module(noise([4, 9]), torch.tensor([2, 2]))
    assert torch.equal(generator.sample([4, 9]), expected)
    latents = generator.latents([4, 9])
    assert latents.z.shape == (2, 7)
    cut = generator.cut("up", latents)
    torch.testing.assert_close(generator.rerun("up", cut), expected)


@pytest.mark.parametrize("form", FORMS)
def test_a_rule_is_solved_on_a_module_of_classes(form):
    generator = wrap(Conditional().eval(), of_class(1, FORMS[form]))
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[4:10, 4:10] = True
    region = [Region(Latent(seed), Mask.from_array(mask.numpy())) for seed in (1, 2)]
    settings = Settings(damage=1e-3)
    rule = Rule("r", generator.fingerprint, "up", copy=(region[0],), paste=region[1], settings=settings)
    patch = solve(generator, measure(generator, "up", 40), rule)
    before = generator.sample([2])
    with patch.applied(generator):
        assert not torch.equal(generator.sample([2]), before)
    assert torch.equal(generator.sample([2]), before)


def test_inputs_of_another_form_than_at_first_are_refused():
    asked = []

    def shorter_and_shorter(seeds):
        asked.append(seeds)
        return torch.zeros(len(seeds), 5 if len(asked) < 4 else 4)

    generator = wrap(nn.Sequential(nn.Linear(5, 3 * 64), nn.Unflatten(1, (3, 8, 8))), shorter_and_shorter)
    with pytest.raises(ValueError, match=r"must give 2 latents of shape \(5,\), it gave \(2, 4\)"):
        [generator.latents([1, 2]) for _ in range(4)]
    with pytest.raises(ValueError, match="a tensor, a tuple of tensors or a dictionary of them"):
        wrap(Conditional(), lambda seeds: None)


def test_the_first_run_says_which_argument_is_wrong():
    with pytest.raises(ValueError, match=r"does not run on latents of shape \(6,\) \(.*labels.*\): say what it takes"):
        wrap(Conditional().eval(), 6)
    with pytest.raises(ValueError, match=r"does not run on latents of shape noise=\(6,\), classes=\(\)"):
        wrap(Conditional(), lambda seeds: {"noise": noise(seeds), "classes": torch.zeros(len(seeds))})
    with pytest.raises(ValueError, match=r"gives \(2, 10\) where images .*: wrap a classifier with"):
        wrap(nn.Linear(4, 10), 4)


class Odd(nn.Module):
    """Layers of many kinds, of which some are left out."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.fc = nn.Linear(6, 64)
        self.sequence = nn.Conv1d(4, 4, 3, padding=1)
        self.plain = nn.Conv2d(4, 4, 3, padding=1)
        self.mirrored = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.spectral = spectral_norm(nn.Conv2d(4, 4, 1))
        self.weighed = parametrizations.weight_norm(nn.Conv2d(4, 4, 1))
        self.tied, self.twin = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.twin.weight = self.tied.weight
        self.unused, self.out = nn.Linear(2, 2), nn.Conv2d(4, 3, 1)

    def forward(self, z):
        x = self.sequence(self.fc(z).view(-1, 4, 16)).view(-1, 4, 4, 4)
        for layer in (self.plain, self.mirrored, self.spectral, self.weighed, self.tied, self.twin):
            x = torch.relu(layer(x)) + x
        return torch.tanh(self.out(x))


@pytest.mark.filterwarnings("ignore")
def test_what_is_left_out_is_listed_with_its_reason():
    generator = wrap(Odd().eval(), 6)
    assert list(generator.layers) == ["fc", "sequence", "plain", "mirrored", "spectral", "weighed", "out"]
    assert {name: reason.split(",")[0].split(":")[0] for name, reason in generator.left_out.items()} == {
        "tied": "shares its weight with twin",
        "twin": "shares its weight with tied",
        "unused": "does not run",
    }
    with pytest.raises(ValueError, match="layer tied cannot be edited: it shares its weight with twin"):
        wrap(Odd().eval(), 6, ["tied"])
    old = Odd()
    old.plain = weight_norm(old.plain)
    assert "plain" in wrap(old.eval(), 6).layers


def test_the_averages_of_batch_normalisation_are_as_before_after_wrapping():
    module = nn.Sequential(nn.Linear(4, 3 * 16), nn.Unflatten(1, (3, 4, 4)), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    before = copy.deepcopy(module.state_dict())
    generator = wrap(module.train(), 4)
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in before.items())
    assert generator.restless


def test_images_from_0_to_1_are_noticed():
    layers = [nn.Linear(4, 3 * 16), nn.Unflatten(1, (3, 4, 4)), nn.Conv2d(3, 3, 1)]
    assert "lie in [0, 1]" in wrap(nn.Sequential(*layers, nn.Sigmoid()), 4).assumed[0]
    assert wrap(nn.Sequential(*layers, nn.Tanh()), 4).assumed == ()


@pytest.mark.filterwarnings("ignore")
def test_modules_that_run_past_their_layers_are_refused():
    module = nn.Sequential(nn.Linear(4, 3 * 16), nn.Unflatten(1, (3, 4, 4)))
    with pytest.raises(ValueError, match="a TorchScript module runs past its layers"):
        wrap(torch.jit.trace(module, torch.zeros(1, 4)), 4)
    with pytest.raises(ValueError, match=r"wrap the module that was compiled, module\._orig_mod"):
        wrap(torch.compile(module), 4)
