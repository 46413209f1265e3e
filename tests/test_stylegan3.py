"""StyleGAN3: its signals, its layers against plain formulas, its files, and edits of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import signal
from torch.nn import functional as F

from rewrite import export, load_generator
from rewrite.generators.filters import low_pass, sampled_down, sampled_up
from rewrite.generators.stylegan3 import Design3, StyleGAN3, bands
from tests.networks import SMALL3, edit_of, random_stylegan3
from tests.nvidia_files import write_stylegan3

RADIAL = replace(SMALL3, conv_kernel=1, use_radial_filters=True)
LAYERS = list(StyleGAN3(SMALL3).synthesis.stages)


def test_layers_have_the_names_of_the_published_networks():
    names = [f"L{i}_{band.size[1]}_{band.channels}" for i, band in enumerate(bands(Design3(512, 512, 256)))]
    assert names[:6] == ["L0_36_512", "L1_36_512", "L2_36_512", "L3_52_512", "L4_52_512", "L5_84_512"]
    assert names[9:] == ["L9_148_362", "L10_276_256", "L11_276_181", "L12_276_128", "L13_256_128", "L14_256_3"]
    wide = Design3(512, 512, 1024, channel_base=65536, channel_max=1024)
    assert [f"{band.size[1]}_{band.channels}" for band in bands(wide)[7:10]] == ["276_645", "276_406", "532_256"]


@pytest.mark.parametrize(("by", "padding"), [(2, (9, 8)), (4, (-6, -9)), (2, (0, 3))])
def test_sampling_up_is_that_of_scipy(by, padding):
    x, taps = torch.randn(2, 3, 13, 13), low_pass(6 * by, 2.0, 3.0, 16)
    spread = np.zeros((2, 3, 13 * by, 13 * by))
    spread[:, :, ::by, ::by] = x
    for axis in (2, 3):
        spread = signal.upfirdn(taps.numpy() * by, spread, axis=axis)
    # Full filtering starts len(taps) - 1 samples early; padding asks for some of those back, or for fewer.
    expected = np.pad(spread, ((0, 0), (0, 0), (40, 40), (40, 40)))
    both = [padding, (padding[0] + 1, padding[1] - 3)]
    for axis, (before, behind) in zip((3, 2), both, strict=True):
        first, length = 40 + len(taps) - 1 - before, 13 * by + before + behind - (len(taps) - 1)
        expected = np.take(expected, range(first, first + length), axis)
    np.testing.assert_allclose(sampled_up(x, taps, by, both), expected, atol=1e-5)


@pytest.mark.parametrize("radial", [False, True])
def test_sampling_down_is_that_of_scipy(radial):
    x, taps = torch.randn(2, 3, 30, 30), low_pass(12, 3.0, 2.0, 32, radial=radial)
    both = taps if radial else torch.outer(taps, taps)
    expected = [[signal.convolve2d(channel, both, mode="valid")[::2, ::2] for channel in image] for image in x.numpy()]
    np.testing.assert_allclose(sampled_down(x, taps, 2), np.array(expected), atol=1e-5)


def test_a_low_pass_filter_keeps_what_lies_below_its_cutoff_and_stops_what_lies_above():
    taps = low_pass(24, 4.0, 4.0, 64).numpy()
    frequencies, response = signal.freqz(taps, fs=64.0)
    assert np.all(abs(response[frequencies < 1.5]) > 0.9)
    assert np.all(abs(response[frequencies > 8]) < 0.1)
    assert taps.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("design", [SMALL3, RADIAL], ids=["T", "R"])
def test_a_layer_writes_what_the_fused_modulated_convolution_writes(design):
    generator = random_stylegan3(design)
    stage, x = generator.network.synthesis.get_submodule(LAYERS[2]), torch.randn(2, 12, 12, 12)
    x = x[:, : stage.before.channels, : stage.before.size[0], : stage.before.size[1]]
    style = torch.randn(2, stage.before.channels)
    expected = []
    for image, s in zip(x, style, strict=True):
        weight = stage.weight * stage.weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
        weight = weight * (s * s.square().mean().rsqrt())[:, None, None]
        weight = weight * (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).rsqrt()
        expected.append(F.conv2d(image[None], weight * stage.magnitude_ema.rsqrt(), padding=stage.kernel - 1))
    found = stage.convolve(stage.key(x, style)) * stage.demodulation(style)[:, :, None, None]
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("design", [SMALL3, RADIAL], ids=["T", "R"])
def test_every_layer_can_be_cut_and_an_edit_reruns_only_what_follows(design):
    generator = random_stylegan3(design)
    latents = generator.latents([0, 1, 2])
    images = generator.images(latents)
    for name in generator.layers:
        cut = generator.cut(name, latents)
        torch.testing.assert_close(generator.rerun(name, cut), images, rtol=1e-4, atol=1e-5)
        assert cut.features.shape[1:] == (generator.layer(name).inputs, *generator.layer(name).grid)
        before = generator.weight(name).clone()
        generator.weight(name).mul_(1 + torch.rand_like(before))
        changed = generator.images(latents)
        assert (changed - images).abs().max() > 1e-4
        torch.testing.assert_close(generator.rerun(name, cut), changed, rtol=1e-4, atol=1e-5)
        generator.weight(name).copy_(before)


def test_a_seed_gives_the_same_image_alone_and_in_a_batch():
    generator = random_stylegan3()
    together = generator.sample(range(7), batch=7)
    for seed in (0, 4, 6):
        torch.testing.assert_close(generator.sample([seed])[0], together[seed], rtol=0, atol=1e-6)


def test_the_first_map_moves_as_the_transform_says():
    generator = random_stylegan3()
    sines, latents = generator.network.synthesis.input, generator.start(generator.latents([3])).ws[:, 0]
    before = sines.key(latents)
    sines.transform[0, 2] = 2 / sines.band.rate  # two cells: an image is one wide
    torch.testing.assert_close(sines.key(latents)[..., :-2], before[..., 2:], rtol=0, atol=1e-4)


@pytest.mark.parametrize("how", [{}, {"conv_kernel": 1, "use_radial_filters": True}, {"c_dim": 3}], ids="TRC")
def test_a_file_of_nvidia_draws_its_images(tmp_path, how):
    generator = random_stylegan3(replace(SMALL3, **how))
    found = load_generator(write_stylegan3(tmp_path / "model.pkl", generator))
    for truncation in (1.0, 0.5):
        found.truncation = generator.truncation = truncation
        torch.testing.assert_close(found.sample([0, 7]), generator.sample([0, 7]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", ["input", LAYERS[2], LAYERS[-1]])
def test_an_edit_goes_back_into_the_file_and_no_other_byte_moves(tmp_path, layer):
    path = write_stylegan3(tmp_path / "model.pkl", random_stylegan3())
    generator, patch = edit_of(path, layer)
    export(generator, patch, tmp_path / "edited.pkl", model=path)
    with patch.applied(generator):
        expected = generator.sample([3, 4])
    assert not torch.equal(expected, generator.sample([3, 4]))
    torch.testing.assert_close(load_generator(tmp_path / "edited.pkl").sample([3, 4]), expected, rtol=0, atol=1e-6)
    before, after = path.read_bytes(), (tmp_path / "edited.pkl").read_bytes()
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    assert 0 < changed <= 4 * generator.weight(layer).numel() + 12


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"wings": 2}, "built with wings, which is not known here"),
        ({"conv_kernel": 5}, "kernel 1 or 3"),
        ({"num_layers": 9}, "is missing"),
        ({"num_layers": "many"}, "size"),
        ({"first_cutoff": -1.0}, "cutoffs are positive"),
    ],
)
def test_a_network_built_in_another_way_is_refused(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        load_generator(write_stylegan3(tmp_path / "model.pkl", random_stylegan3(), **wrong))
