"""Files of other tools open without running anything in them, draw their images, and go back to those tools."""

import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rewrite import export, load_generator
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from tests.foreign_files import example, proggan_state, sequential, state_of, write_rosinality
from tests.networks import CONFIG, edit_of, random_stylegan2, random_stylegan3
from tests.nvidia_files import stylegan2, write_network, write_stylegan2, write_stylegan3


def same_images(path, generator) -> None:
    found = load_generator(path)
    found.noise = generator.noise = "const"
    for truncation in (1.0, 0.5):
        found.truncation = generator.truncation = truncation
        torch.testing.assert_close(found.sample([0, 7]), generator.sample([0, 7]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rename", [lambda state: state, sequential], ids=["port", "rewriting release"])
def test_a_file_of_rosinalitys_port_draws_its_images(tmp_path, scaled, rename):
    same_images(write_rosinality(tmp_path / "model.pt", scaled, rename), scaled)


@pytest.mark.parametrize(
    "how",
    [{}, {"architecture": "resnet"}, {"architecture": "orig"}, {"c_dim": 3}, {"clamp": 0.5}],
    ids=["skip", "resnet", "orig", "classes", "clamped"],
)
def test_a_pickle_of_nvidia_draws_its_images(tmp_path, how):
    generator = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, **how)), noise="const")
    same_images(write_stylegan2(tmp_path / "model.pkl", generator), generator)


@pytest.mark.parametrize("layer", ["b4.conv1", "b8.conv0", "b16.conv1", "b16.torgb"])
@pytest.mark.parametrize("tool", ["rosinality", "nvidia"])
def test_an_edit_goes_back_into_the_file_and_no_other_byte_moves(tmp_path, scaled, tool, layer):
    path = tmp_path / "model.file"
    (write_rosinality if tool == "rosinality" else write_stylegan2)(path, scaled)
    generator, patch = edit_of(path, layer)
    export(generator, patch, tmp_path / "edited.file", model=path)
    with patch.applied(generator):
        expected = generator.sample([3, 4])
    torch.testing.assert_close(load_generator(tmp_path / "edited.file").sample([3, 4]), expected, rtol=0, atol=1e-6)
    before, after = path.read_bytes(), (tmp_path / "edited.file").read_bytes()
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    assert 0 < changed <= 4 * generator.weight(layer).numel() + 12
    export(generator, [], tmp_path / "same.file", model=path)
    assert (tmp_path / "same.file").read_bytes() == before


def test_the_exported_file_is_loaded_by_torch_with_the_edited_weight(tmp_path, scaled):
    path = write_rosinality(tmp_path / "model.pt", scaled)
    generator, patch = edit_of(path, "b8.conv1")
    export(generator, patch, tmp_path / "edited.pt", model=path)
    found = torch.load(tmp_path / "edited.pt", weights_only=True)["g_ema"]["convs.1.conv.weight"]
    with patch.applied(generator):
        assert torch.equal(found[0], generator.weight("b8.conv1"))


def proggan_reference(state: OrderedDict, z: torch.Tensor) -> torch.Tensor:
    """The published network's arithmetic, written out."""
    x = z[:, :, None, None]
    for number in range(1, 8):
        name = "output_16x16" if number == 7 else f"layer{number}"
        weight = state[f"{name}.conv.weight"]
        x = x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)
        if number in (3, 5):
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        kernel = weight.shape[-1]
        gain = 1.0 if number == 7 else np.sqrt(2) / kernel
        x = F.conv2d(x, weight, padding={4: 3, 3: 1, 1: 0}[kernel]) * (gain / np.sqrt(weight.shape[1]))
        x = x + state[f"{name}.wscale.b"].view(1, -1, 1, 1)
        x = F.hardtanh(x) if number == 7 else F.leaky_relu(x, 0.2)
    return x


@pytest.mark.parametrize("older", [False, True])
def test_a_progressive_gan_draws_its_images_and_is_edited(tmp_path, older):
    torch.save(proggan_state(older), tmp_path / "model.pth")
    generator = load_generator(tmp_path / "model.pth")
    expected = proggan_reference(proggan_state(), generator.latents([0, 7]).z)
    torch.testing.assert_close(generator.sample([0, 7]), expected, rtol=0, atol=1e-5)
    assert "layer4.conv" in generator.layers
    generator, patch = edit_of(tmp_path / "model.pth", "layer4.conv")
    export(generator, patch, tmp_path / "edited.pth", model=tmp_path / "model.pth")
    with patch.applied(generator):
        expected = generator.sample([3])
    torch.testing.assert_close(load_generator(tmp_path / "edited.pth").sample([3]), expected, rtol=0, atol=1e-6)


def test_a_pickle_with_another_filter_is_refused(tmp_path, scaled):
    scaled.network.synthesis.b8.conv0.register_buffer("resample_filter", torch.full((4, 4), 1 / 16))
    with pytest.raises(ValueError, match="another low-pass filter, first in synthesis"):
        load_generator(write_stylegan2(tmp_path / "model.pkl", scaled))


@pytest.mark.parametrize("value", [[], {}, "x", -1])
def test_values_of_the_wrong_kind_are_refused_in_a_sentence(tmp_path, value):
    generator = StyleGAN2Generator(random_stylegan2())
    wrong = stylegan2(generator.network)
    wrong.attributes["z_dim"] = value
    write_network(tmp_path / "model.pkl", wrong)
    with pytest.raises(ValueError, match="size"):
        load_generator(tmp_path / "model.pkl")
    fc = wrong.attributes["_modules"]["mapping"].attributes["_modules"]["fc0"]
    wrong.attributes["z_dim"], fc.attributes["bias_gain"] = 8, [value]
    write_network(tmp_path / "model.pkl", wrong)
    with pytest.raises(ValueError, match="is not a complete StyleGAN2 of NVIDIA"):
        load_generator(tmp_path / "model.pkl")


@pytest.mark.parametrize("missing", ["convs.1.conv.weight", "style.1.weight", "to_rgbs.0.bias", "input.input"])
def test_an_incomplete_file_is_refused(tmp_path, scaled, missing):
    def without(state):
        return OrderedDict((name, tensor) for name, tensor in state.items() if name != missing)

    with pytest.raises(ValueError, match=r"model\.pt is not a complete StyleGAN2"):
        load_generator(write_rosinality(tmp_path / "model.pt", scaled, without))


def test_a_file_without_a_generator_says_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "optimizer": {}}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="no generator that is known here; it holds epoch, optimizer"):
        load_generator(tmp_path / "model.pt")
    torch.save(torch.nn.Conv2d(3, 3, 3), tmp_path / "whole.pt")
    with pytest.raises(ValueError, match=r"it holds an object of torch\.nn.*Conv2d; where it is a generator, build"):
        load_generator(tmp_path / "whole.pt")


def test_opening_a_file_does_not_wake_the_compiler_of_torch(tmp_path, scaled):
    """Some of torch's functions on tensors without numbers import it, as torchvision does, which takes seconds."""
    torch.save(proggan_state(), tmp_path / "proggan")
    torch.save(state_of(example()), tmp_path / "dcgan")
    write_rosinality(tmp_path / "rosinality", scaled)
    write_stylegan2(tmp_path / "stylegan2", scaled)
    write_stylegan3(tmp_path / "stylegan3", random_stylegan3())
    program = "import sys; from rewrite import load_generator; [load_generator(path) for path in sys.argv[1:]]"
    program += "; from rewrite.classifiers.recognition import recognised; recognised({'synthesis.b4.weight': (4, 4)})"
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    command = [sys.executable, "-c", f"{program}; print(*sys.modules)", *paths]
    imported = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "torch._dynamo" not in imported
    assert "sympy" not in imported
    assert "torchvision" not in imported
