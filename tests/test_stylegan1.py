"""StyleGAN files of rosinality's port: images beside an independent statement, edits, w, and untrained blocks."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rewrite import Latent, export, load_generator
from rewrite.generators.stylegan1 import OneDesign, StyleGAN1
from rewrite.goals.scene import latents_of
from tests.networks import patch_of

DESIGN = OneDesign(z_dim=6, depth=2, channels=(8, 8, 6), fused=(False, False, True))
FUSED = "generator.progression.2.conv1.0"
LAYERS = ("style.1.linear", "generator.progression.1.conv1.1.conv", "generator.progression.2.conv2.conv", FUSED)


def state_of(trained: int = 3) -> dict[str, Tensor]:
    """Tensors by the names of `g_running`, with colours for each block, of which so many were trained."""
    torch.manual_seed(0)
    state = {name: torch.randn_like(tensor) for name, tensor in StyleGAN1(DESIGN).state_dict().items()}
    for number, channels in enumerate(DESIGN.channels):
        name = f"generator.to_rgb.{number}.conv"
        state |= {f"{name}.weight": torch.randn(3, channels, 1, 1), f"{name}.bias": torch.randn(3) * (number < trained)}
        if number:
            place = 1 if DESIGN.fused[number] else 2
            state[f"generator.progression.{number}.conv1.{place}.weight"] = torch.ones(1) / 16
    fused = "generator.progression.2.conv1.0.weight"
    blurs = {name for name in state if state[name].ndim == 1 and name.endswith("weight")}
    return {
        name if name == fused or name in blurs or not name.endswith("weight") else f"{name}_orig": tensor
        for name, tensor in state.items()
    }


def drawn(state: dict[str, Tensor], z: Tensor, noise: list[Tensor], blocks: int = 3) -> Tensor:
    """What rosinality's network draws of one z, with one map of noise for each block."""

    def equal(name, inputs):
        weight = state[f"{name}.weight_orig"]
        return weight * math.sqrt(2 / (inputs * weight[0, 0].numel()))

    def linear(name, x):
        return x @ equal(name, x.shape[1]).T + state[f"{name}.bias"]

    def conv(name, x):
        kernel = equal(name, x.shape[1])
        return F.conv2d(x, kernel, state[f"{name}.bias"], padding=kernel.shape[2] // 2)

    def fused(name, x):
        weight = state[f"{name}.weight"]
        weight = weight * math.sqrt(2 / (weight.shape[0] * 9))
        kernel = torch.zeros(*weight.shape[:2], 4, 4)
        for down in (0, 1):
            for right in (0, 1):
                kernel[:, :, down : down + 3, right : right + 3] += weight / 4
        return F.conv_transpose2d(x, kernel, state[f"{name}.bias"], stride=2, padding=1)

    def blurred(x):
        taps = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
        return F.conv2d(x, taps.repeat(x.shape[1], 1, 1, 1), padding=1, groups=x.shape[1])

    def half(x, number, which):
        weight = state[f"generator.progression.{number}.noise{which}.weight_orig"]
        x = F.leaky_relu(x + weight * math.sqrt(2 / x.shape[1]) * noise[number], 0.2)
        gain, shift = linear(f"generator.progression.{number}.adain{which}.style.linear", w)[0].chunk(2)
        mean, variance = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), keepdim=True, unbiased=False)
        return (x - mean) / (variance + 1e-5).sqrt() * gain[:, None, None] + shift[:, None, None]

    w = z / z.square().mean().sqrt()
    for number in (1, 3):
        w = F.leaky_relu(linear(f"style.{number}.linear", w), 0.2)
    x = half(state["generator.progression.0.conv1.input"], 0, 1)
    x = half(conv("generator.progression.0.conv2.conv", x), 0, 2)
    for number in range(1, blocks):
        name = f"generator.progression.{number}"
        if DESIGN.fused[number]:
            x = blurred(fused(f"{name}.conv1.0", x))
        else:
            x = blurred(conv(f"{name}.conv1.1.conv", x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)))
        x = half(conv(f"{name}.conv2.conv", half(x, number, 1)), number, 2)
    return conv(f"generator.to_rgb.{blocks - 1}.conv", x)


def noise_of(seed: int, blocks: int = 3) -> list[Tensor]:
    torch.manual_seed(seed)
    return [torch.randn(1, 1, 4 << number, 4 << number) for number in range(blocks)]


@pytest.mark.parametrize("trained", [2, 3])
def test_a_stylegan_draws_its_images_up_to_the_last_block_that_was_trained(tmp_path, trained):
    state = state_of(trained)
    torch.save({"generator": state_of(), "g_running": state}, tmp_path / "train.model")
    generator = load_generator(tmp_path / "train.model")
    assert generator.size == (2 << trained, 2 << trained)
    assert str(2 << trained) in generator.assumed[0]
    latents = generator.latents([5, 9])
    for number, seed in enumerate((5, 9)):
        expected = drawn(state, latents.z[number : number + 1], noise_of(seed, trained), trained)
        torch.testing.assert_close(generator.images(latents)[number], expected[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_port_draws_an_edit_from_the_exported_file(tmp_path, layer):
    path, out = tmp_path / "g.model", tmp_path / "edited.model"
    torch.save(state_of(), path)
    generator = load_generator(path)
    patch, latents = patch_of(generator, layer), generator.latents([5])
    with patch.applied(generator):
        expected = generator.images(latents)
    export(generator, patch, out)
    state = torch.load(out, weights_only=True)
    changed = {name for name, tensor in state_of().items() if not torch.equal(tensor, state[name])}
    assert changed == {f"{layer}.weight" if layer == FUSED else f"{layer}.weight_orig"}
    torch.testing.assert_close(drawn(state, latents.z, noise_of(5)), expected, rtol=0, atol=1e-4)


def test_a_convolution_that_is_fused_with_doubling_is_a_layer_like_any_other(tmp_path):
    torch.save(state_of(), tmp_path / "g.model")
    generator = load_generator(tmp_path / "g.model")
    latents = generator.latents([5, 9])
    layer, cut = generator.layer(FUSED), generator.cut(FUSED, latents)
    torch.testing.assert_close(generator.rerun(FUSED, cut), generator.images(latents))
    values = layer.values(layer.keys(cut.features)[0], layer.matrix(generator.weight(FUSED)))
    written = layer.apply(cut.features, generator.weight(FUSED))[0].flatten(1).T
    torch.testing.assert_close(values, written, rtol=0, atol=1e-4)
    # A map of 17 cells is that of 16 pixels and half a cell beyond on each side.
    assert (layer.output_grid, layer.margin, layer.overhang) == ((17, 17), 0.5, 0.5)


def test_truncation_is_towards_the_mean_latent_and_w_stand_in_for_z(tmp_path):
    torch.save(state_of(), tmp_path / "g.model")
    generator = load_generator(tmp_path / "g.model", truncation=0.5)
    latents = generator.latents([5])
    styles = generator.styles(latents)
    z = torch.randn(20_000, 6)
    middle = generator.module.mapped(z).mean(dim=0).lerp(generator.module.mapped(latents.z)[0], 0.5)
    torch.testing.assert_close(styles[0, 0], middle, rtol=0, atol=0.05)
    given = Latent.each(latents._replace(w=styles))
    assert torch.equal(generator.images(latents_of(generator, given)), generator.images(latents))


def test_a_stylegan_of_the_ports_first_days_is_refused(tmp_path):
    state = state_of()
    first = "generator.progression.1.conv1"
    state[f"{first}.conv.weight_orig"] = state.pop(f"{first}.1.conv.weight_orig")
    torch.save(state, tmp_path / "old.model")
    with pytest.raises(ValueError, match="of its first days, whose blocks are not read here"):
        load_generator(tmp_path / "old.model")
