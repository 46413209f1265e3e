"""Files of other tools open without running anything in them, draw their images, and go back to those tools."""

import pickle
import re
import sys
from collections import OrderedDict
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rewrite import Mask, export, load_generator, measure, solve
from rewrite.generators.proggan import ProgressiveGAN
from rewrite.generators.stylegan2 import Design, StyleGAN2
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.rule import Latent, Region, Rule
from tests.conftest import CONFIG, random_stylegan2


def rosinality_state(network: StyleGAN2) -> OrderedDict:
    """The tensors of a network by rosinality's names and in its shapes."""
    ours, theirs = network.state_dict(), OrderedDict()
    for i in range(CONFIG["mapping_layers"]):
        for part in ("weight", "bias"):
            theirs[f"style.{i + 1}.{part}"] = ours[f"mapping.fc{i}.{part}"]
    theirs["input.input"] = ours["synthesis.b4.const"][None]
    styled = {"b4.conv1": "conv1", "b8.conv0": "convs.0", "b8.conv1": "convs.1", "b16.conv0": "convs.2"}
    for number, (mine, name) in enumerate({**styled, "b16.conv1": "convs.3"}.items()):
        mine = f"synthesis.{mine}"
        theirs[f"{name}.conv.weight"] = ours[f"{mine}.weight"][None]
        theirs[f"{name}.conv.modulation.weight"] = ours[f"{mine}.affine.weight"]
        theirs[f"{name}.conv.modulation.bias"] = ours[f"{mine}.affine.bias"]
        theirs[f"{name}.noise.weight"] = ours[f"{mine}.noise_strength"].reshape(1)
        theirs[f"{name}.activate.bias"] = ours[f"{mine}.bias"]
        theirs[f"noises.noise_{number}"] = ours[f"{mine}.noise_const"][None, None]
    for mine, name in {"b4.torgb": "to_rgb1", "b8.torgb": "to_rgbs.0", "b16.torgb": "to_rgbs.1"}.items():
        mine = f"synthesis.{mine}"
        theirs[f"{name}.conv.weight"] = ours[f"{mine}.weight"][None]
        theirs[f"{name}.conv.modulation.weight"] = ours[f"{mine}.affine.weight"]
        theirs[f"{name}.conv.modulation.bias"] = ours[f"{mine}.affine.bias"]
        theirs[f"{name}.bias"] = ours[f"{mine}.bias"].reshape(1, -1, 1, 1)
    return OrderedDict((name, tensor.clone()) for name, tensor in theirs.items())


def sequential(state: OrderedDict) -> OrderedDict:
    """The same tensors by the names of the 2020 rewriting release."""
    renamed = OrderedDict()
    for name, tensor in state.items():
        kind, _, rest = name.partition(".")
        if kind == "conv1":
            name = f"layer2.conv.{rest}".replace("conv.conv.", "conv.mconv.")
        elif kind == "convs":
            number, _, rest = rest.partition(".")
            name = f"layer{int(number) + 3}.sconv.{rest}".replace("sconv.conv.", "sconv.mconv.")
        elif kind == "to_rgb1":
            name = f"to_rgb1.rgb.{rest}"
        elif kind == "to_rgbs":
            number, _, rest = rest.partition(".")
            name = f"to_rgb{int(number) + 2}.rgb.{rest}"
        renamed[name.replace("mconv.weight", "mconv.dconv.weight")] = tensor
    return renamed


@pytest.fixture
def scaled() -> StyleGAN2Generator:
    return StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, conv_gain=True)), noise="const")


def write_rosinality(path, generator, rename=lambda state: state):
    network = generator.network
    content = {
        "g": {"unrelated": torch.zeros(2)},
        "g_ema": rename(rosinality_state(network)),
        "latent_avg": network.mapping.w_avg,
    }
    torch.save(content, path)
    return path


class Persistent:
    """What NVIDIA's persistent modules look like in a pickle: a description with source code, and a state."""

    def __init__(self, class_name: str, **attributes):
        self.class_name, self.attributes = class_name, attributes

    def __reduce__(self):
        source = "import os\nos.system('touch /tmp/source-code-was-run')\nraise SystemExit('the source code was run')\n"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": self.class_name}
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta | {"state": self.attributes},)


@pytest.fixture
def nvidia_modules(monkeypatch):
    """Stand-ins under the names that NVIDIA's pickles use, so that the test can write one."""

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("a persistent object was made")

    parent, persistence = ModuleType("torch_utils"), ModuleType("torch_utils.persistence")
    _reconstruct_persistent_obj.__module__ = persistence.__name__
    _reconstruct_persistent_obj.__qualname__ = _reconstruct_persistent_obj.__name__
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj
    parent.persistence = persistence
    monkeypatch.setitem(sys.modules, "torch_utils", parent)
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", persistence)


def persistent(module: nn.Module, design: Design, name: str = "") -> Persistent:
    """A module of ours in NVIDIA's layout."""
    attributes = {
        "_parameters": OrderedDict(module._parameters),
        "_buffers": OrderedDict(module._buffers),
        "_modules": OrderedDict((key, persistent(child, design, key)) for key, child in module._modules.items()),
        "training": False,
    }
    if not name:
        attributes |= {
            "z_dim": design.z_dim,
            "w_dim": design.w_dim,
            "c_dim": design.c_dim,
            "img_channels": design.colours,
            "_init_kwargs": {"z_dim": design.z_dim},
        }
    elif name.startswith("conv"):
        attributes |= {"activation": "lrelu", "conv_clamp": design.clamp, "padding": np.int64(1)}
    elif name.startswith("fc"):
        attributes |= {"bias_gain": design.mapping_rate, "weight_gain": np.float64(0.1)}
    elif name.startswith("b"):
        attributes |= {"architecture": design.architecture}
    return Persistent(type(module).__name__, **attributes)


def write_nvidia(path, generator) -> None:
    network = generator.network
    content = {"G": None, "D": None, "G_ema": persistent(network, network.design), "training_set_kwargs": {"path": "x"}}
    path.write_bytes(pickle.dumps(content))
    return path


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
def test_a_pickle_of_nvidia_draws_its_images(tmp_path, nvidia_modules, how):
    generator = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, **how)), noise="const")
    same_images(write_nvidia(tmp_path / "model.pkl", generator), generator)


def edit_of(path, layer: str):
    """A rule solved on what a file holds."""
    generator = load_generator(path)
    mask = np.zeros(generator.size, dtype=bool)
    mask[4:9, 4:9] = True
    regions = [Region(Latent(seed), Mask.from_array(mask)) for seed in (1, 2)]
    rule = Rule("r", generator.fingerprint, layer, copy=(regions[0],), context=(regions[1],))
    return generator, solve(generator, measure(generator, layer, 20), rule)


@pytest.mark.parametrize("layer", ["b4.conv1", "b8.conv0", "b16.conv1", "b16.torgb"])
@pytest.mark.parametrize("tool", ["rosinality", "nvidia"])
def test_an_edit_goes_back_into_the_file_and_no_other_byte_moves(tmp_path, nvidia_modules, scaled, tool, layer):
    path = tmp_path / "model.file"
    (write_rosinality if tool == "rosinality" else write_nvidia)(path, scaled)
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


def proggan_state(older: bool = False) -> OrderedDict:
    """A ProgressiveGAN of 16x16 by the published names."""
    torch.manual_seed(2)
    state = OrderedDict(
        (name, torch.randn_like(tensor)) for name, tensor in ProgressiveGAN([6, 8, 7, 5]).state_dict().items()
    )
    if not older:
        return state
    return OrderedDict(
        (
            re.sub(r"^layer(\d+)", lambda found: f"features.{int(found[1]) - 1}", name).replace(
                "output_16x16", "output"
            ),
            tensor,
        )
        for name, tensor in state.items()
    )


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


def test_a_pickle_with_another_filter_is_refused(tmp_path, nvidia_modules, scaled):
    scaled.network.synthesis.b8.conv0.register_buffer("resample_filter", torch.full((4, 4), 1 / 16))
    with pytest.raises(ValueError, match="another low-pass filter, first in synthesis"):
        load_generator(write_nvidia(tmp_path / "model.pkl", scaled))


@pytest.mark.parametrize("value", [[], {}, "x", -1])
def test_values_of_the_wrong_kind_are_refused_in_a_sentence(tmp_path, nvidia_modules, value):
    generator = StyleGAN2Generator(random_stylegan2())
    wrong = persistent(generator.network, generator.network.design)
    wrong.attributes["z_dim"] = value
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"G_ema": wrong}))
    with pytest.raises(ValueError, match="size"):
        load_generator(tmp_path / "model.pkl")
    fc = wrong.attributes["_modules"]["mapping"].attributes["_modules"]["fc0"]
    wrong.attributes["z_dim"], fc.attributes["bias_gain"] = 8, [value]
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"G_ema": wrong}))
    with pytest.raises(ValueError, match="is no complete StyleGAN2 of NVIDIA"):
        load_generator(tmp_path / "model.pkl")


@pytest.mark.parametrize("missing", ["convs.1.conv.weight", "style.1.weight", "to_rgbs.0.bias", "input.input"])
def test_an_incomplete_file_is_refused(tmp_path, scaled, missing):
    def without(state):
        return OrderedDict((name, tensor) for name, tensor in state.items() if name != missing)

    with pytest.raises(ValueError, match=r"model\.pt is no complete StyleGAN2"):
        load_generator(write_rosinality(tmp_path / "model.pt", scaled, without))


def test_a_file_without_a_generator_says_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "optimizer": {}}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="no generator that is known here; it holds epoch, optimizer"):
        load_generator(tmp_path / "model.pt")
