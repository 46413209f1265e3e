"""Units off as a patch: like the intervention, exact to take back, and still off in the file that is exported."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from dissect.causes.ablation import FADES, NOISE, NORM, READER, ablation_patch
from dissect.causes.intervention import Intervention, Prefix
from rewrite import Patch, Stack, export, load_generator, to_peft, wrap
from rewrite.checkpoints import native
from rewrite.generators.proggan import ProgressiveGAN
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from tests.foreign_files import Mimicry, example, proggan_state, settled, state_of, write_rosinality
from tests.networks import CONFIG, PlainGenerator, patch_of, random_stylegan2, random_stylegan3
from tests.nvidia_files import write_stylegan2, write_stylegan3

SEEDS = (3, 1, 4)


def saved(generator) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in generator.module.state_dict().items()}


def same(generator, state) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in generator.module.state_dict().items())


def drawn(generator, patch) -> torch.Tensor:
    with patch.applied(generator):
        return generator.sample(SEEDS)


def noiseless() -> StyleGAN2Generator:
    return StyleGAN2Generator(random_stylegan2(), noise="none")


@pytest.mark.parametrize("maker", [noiseless, PlainGenerator], ids=["stylegan2", "plain"])
def test_the_patch_draws_what_the_intervention_draws_in_every_layer(maker):
    generator = maker()
    for layer in generator.layers:
        before, units = saved(generator), (0, 2)
        wanted = Prefix.of(generator, layer, SEEDS).images(Intervention.off(units))
        patch = ablation_patch(generator, layer, units)
        assert torch.allclose(drawn(generator, patch), wanted, atol=1e-6), layer
        assert patch.forecast["largest"] < 1e-6 < patch.forecast["moved"]
        assert same(generator, before)


def test_weights_that_are_scaled_as_they_run_are_silent_too(scaled):
    scaled.noise = "none"
    for layer in ("b8.conv0", "b8.conv1", "b16.torgb"):
        wanted = Prefix.of(scaled, layer, SEEDS).images(Intervention.off([1]))
        assert torch.allclose(drawn(scaled, ablation_patch(scaled, layer, [1])), wanted, atol=1e-6), layer


def test_under_noise_little_of_a_unit_is_left_and_the_forecast_says_how_much(tiny_generator):
    patch = ablation_patch(tiny_generator, "b8.conv1", [0, 3], seeds=SEEDS)
    wanted = Prefix.of(tiny_generator, "b8.conv1", SEEDS).images(Intervention.off([0, 3]))
    apart = (drawn(tiny_generator, patch) - wanted).abs()
    assert patch.forecast["difference"] == pytest.approx(float(apart.mean()), abs=1e-6)
    assert patch.forecast["largest"] == pytest.approx(float(apart.max()), abs=1e-6)
    assert NOISE in patch.forecast["notes"]
    with torch.no_grad():
        tiny_generator.weight("b8.conv1")[[0, 3]], tiny_generator.bias("b8.conv1")[[0, 3]] = 0, 0
    assert apart.mean() < (tiny_generator.sample(SEEDS) - wanted).abs().mean()


def test_a_stylegan3_no_longer_reads_the_units_and_nothing_becomes_infinite():
    generator = random_stylegan3()
    names = list(generator.layers)
    for layer, reader in pairwise(names[1:4]):
        patch = ablation_patch(generator, layer, [0, 1], seeds=SEEDS)
        assert patch.layer == reader
        assert READER in patch.forecast["notes"]
        with patch.applied(generator):
            images = generator.sample(SEEDS)
        assert torch.isfinite(images).all()
        assert patch.forecast["difference"] < 0.05 * patch.forecast["moved"]
    for layer in (names[0], names[-1]):
        wanted = Prefix.of(generator, layer, SEEDS).images(Intervention.off([0]))
        assert torch.allclose(drawn(generator, ablation_patch(generator, layer, [0])), wanted, atol=1e-6)


def test_a_progressive_gan_has_its_bias_in_the_scale_that_follows():
    """What leaves the block is an independent reference: it is zero, before anything else reads it."""
    torch.manual_seed(0)
    network = ProgressiveGAN([6, 5, 4, 4]).requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.endswith("wscale.b"):
            parameter.normal_(std=0.5)
    generator = wrap(network.eval(), 6)
    left = []
    network.layer4.register_forward_hook(lambda module, inputs, output: left.append(output))
    patch = ablation_patch(generator, "layer4.conv", [2])
    assert tuple(patch.tensors(generator)) == ("layer4.conv.weight", "layer4.wscale.b")
    assert patch.forecast["largest"] < 1e-5 < patch.forecast["moved"]
    left.clear()
    drawn(generator, patch)
    assert not left[-1][:, 2].any()
    assert left[-1][:, 1].any()


def test_where_batch_normalisation_follows_it_is_said():
    torch.manual_seed(0)
    network = nn.Sequential(nn.ConvTranspose2d(4, 6, 4), nn.BatchNorm2d(6), nn.ReLU(), nn.ConvTranspose2d(6, 3, 4))
    generator = wrap(network.eval().requires_grad_(False), (4, 1, 1))
    wanted = Prefix.of(generator, "0", SEEDS).images(Intervention.off([5]))
    patch = ablation_patch(generator, "0", [5])
    assert torch.allclose(drawn(generator, patch), wanted, atol=1e-6)
    assert NORM in patch.forecast["notes"]
    assert NORM not in ablation_patch(generator, "3", [1]).forecast["notes"]


def test_strength_scales_plain_layers_and_demodulated_ones_say_that_it_does_not(plain_generator):
    patch = ablation_patch(plain_generator, "conv", [1])
    wanted = Prefix.of(plain_generator, "conv", SEEDS).images(Intervention.scaled([1], 0.25))
    with patch.applied(plain_generator, 0.75):
        assert torch.allclose(plain_generator.sample(SEEDS), wanted, atol=1e-6)
    assert patch.forecast["notes"] == []
    assert FADES in ablation_patch(noiseless(), "b8.conv1", [1]).forecast["notes"]


def test_patches_of_units_stack_with_others_and_come_off_bit_for_bit(plain_generator):
    before = saved(plain_generator)
    one, other = (ablation_patch(plain_generator, "conv", [unit]) for unit in (0, 3))
    both = ablation_patch(plain_generator, "conv", [3, 0])
    stack = Stack(plain_generator)
    stack.hold([(one, 1.0), (other, 1.0)])
    together = saved(plain_generator)
    stack.hold([(other, 1.0), (one, 1.0)])
    assert same(plain_generator, together)
    stack.hold([(both, 1.0)])
    assert all(torch.allclose(each, together[name]) for name, each in plain_generator.module.state_dict().items())
    plain = Patch("conv", torch.ones(4, 1), torch.ones(1, 27), ablation_patch(PlainGenerator(), "conv", [0]).base, "m")
    with pytest.raises(ValueError, match="was made for weight"):
        stack.hold([(both, 1.0), (plain, 1.0)])
    stack.hold([(both, 0.0)])
    assert same(plain_generator, before)
    stack.hold([(one, 0.5)])
    stack.clear()
    assert same(plain_generator, before)
    assert not stack.base
    assert not stack.biases


def test_another_bias_is_refused(plain_generator):
    patch = ablation_patch(plain_generator, "conv", [1])
    plain_generator.bias("conv").add_(1)
    with pytest.raises(ValueError, match="was made for weight"), patch.applied(plain_generator):
        pass


def test_a_patch_of_a_bias_is_refused_by_a_layer_with_none_or_another_number_of_them(plain_generator):
    with pytest.raises(ValueError, match="biases, which layer conv does not have"):
        ablation_patch(plain_generator, "conv", [1]).check(plain_generator, bias=torch.zeros(1))
    without = wrap(nn.Sequential(nn.Linear(4, 48, bias=False), nn.Unflatten(1, (3, 4, 4))), latents=4)
    with pytest.raises(ValueError, match="changes 48 biases, which layer 0 does not have"):
        replace(patch_of(without, "0"), bias=torch.zeros(48)).check(without)


def test_a_saved_patch_keeps_its_bias(plain_generator, tmp_path):
    patch = ablation_patch(plain_generator, "conv", [1], name="tree")
    patch.save(tmp_path / "off.safetensors")
    loaded = Patch.load(tmp_path / "off.safetensors")
    assert torch.equal(loaded.bias, patch.bias)
    assert loaded.forecast == patch.forecast
    assert torch.equal(drawn(plain_generator, loaded), drawn(plain_generator, patch))


def test_an_exported_file_draws_without_the_units(tmp_path, scaled):
    torch.manual_seed(0)
    native.save_stylegan2(tmp_path / "ours.safetensors", random_stylegan2().state_dict(), CONFIG, {"seed": 0})
    write_rosinality(tmp_path / "port.pt", scaled)
    write_stylegan2(tmp_path / "two.pkl", StyleGAN2Generator(random_stylegan2(), noise="const"))
    write_stylegan3(tmp_path / "three.pkl", random_stylegan3())
    torch.save(proggan_state(), tmp_path / "progressive.pth")
    torch.save(state_of(example()), tmp_path / "dcgan.pth")
    torch.save(state_of(settled(Mimicry()), ""), tmp_path / "residual.pth")
    layers = {
        "ours.safetensors": "b8.conv1",
        "port.pt": "b8.conv0",
        "two.pkl": "b16.conv1",
        "three.pkl": None,
        "progressive.pth": "layer4.conv",
        "dcgan.pth": "layer2.conv",
        "residual.pth": "block3.c1",
    }
    for name, layer in layers.items():
        path, out = tmp_path / name, tmp_path / f"off-{name}"
        generator = load_generator(path)
        layer = layer or list(generator.layers)[2]
        patch = ablation_patch(generator, layer, [0, 1, 2], seeds=())
        export(generator, patch, out, model=path)
        expected = drawn(generator, patch)
        assert not torch.equal(expected, generator.sample(SEEDS)), name
        assert torch.equal(load_generator(out).sample(SEEDS), expected), name


def test_an_adapter_cannot_hold_a_bias(plain_generator, tmp_path):
    torch.manual_seed(0)
    generator = wrap(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 48), nn.Unflatten(1, (3, 4, 4))), latents=4)
    with pytest.raises(ValueError, match=r"also changes the bias of 0, which PEFT cannot hold"):
        to_peft(generator, ablation_patch(generator, "0", [3]), tmp_path / "adapter")


@pytest.mark.parametrize(
    ("units", "message"),
    [((), "at least one unit"), ((0, 0), "switched off once"), ((4,), "units 0 to 3, got 4"), ((-1,), "got -1")],
)
def test_units_that_are_none_are_refused(plain_generator, units, message):
    with pytest.raises(ValueError, match=message):
        ablation_patch(plain_generator, "conv", units)
