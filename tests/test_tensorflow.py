"""Pickles of NVIDIA's TensorFlow StyleGAN2 open without TensorFlow, and their code is never run."""

import json
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from apps.cli import main
from rewrite import export, load_generator
from rewrite.generators.stylegan2 import Design, StyleGAN2
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from tests.conftest import CONFIG, random_stylegan2

NAMES = {"conv0": "Conv0_up", "conv1": "Conv1", "torgb": "ToRGB", "skip": "Skip"}


class Network:
    """What the networks of NVIDIA's TensorFlow repositories are pickled as."""

    def __init__(self, name: str, variables: list, settings: dict, components: dict | None = None, version: int = 4):
        self.state = {
            "version": version,
            "name": name,
            "static_kwargs": settings,
            "components": components or {},
            "build_module_src": "raise SystemExit('the source code was run')",
            "build_func_name": "G_main",
            "variables": variables,
        }

    def __getstate__(self):
        return self.state


@pytest.fixture(autouse=True)
def _modules(monkeypatch):
    """Stand-ins under the names that such pickles use, so that the test can write one."""
    for name in ("dnnlib", "dnnlib.tflib", "dnnlib.tflib.network"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["dnnlib.tflib.network"].Network = Network
    monkeypatch.setattr(Network, "__module__", "dnnlib.tflib.network")


def mapping_variables(state: dict) -> list:
    """The variables of the mapping network in TensorFlow's layout: (inputs, outputs)."""
    names = {f"fc{i}": f"Dense{i}" for i in range(CONFIG["mapping_layers"])} | {"embed": "LabelEmbed"}
    return [
        (f"{names[layer]}/{part}", values.T if part == "weight" else values)
        for name, values in state.items()
        for layer, _, part in [name.removeprefix("mapping.").partition(".")]
        if layer in names
    ]


def synthesis_variables(state: dict) -> list:
    """The variables of the synthesis network: kernels (height, width, inputs, outputs), styles without their 1."""
    found = [("4x4/Const/const", state["synthesis.b4.const"][None])]
    for name, values in state.items():
        if not name.startswith("synthesis.") or name == "synthesis.b4.const":
            continue
        block, layer, part = name.removeprefix("synthesis.").split(".", 2)
        side = int(block[1:])
        ours = "Conv" if (side, layer) == (4, "conv1") else NAMES[layer]
        if part == "noise_const":
            number = 2 * int(np.log2(side)) - (4 if layer == "conv1" else 5)
            found.append((f"noise{number}", values[None, None]))
            continue
        if part == "weight":
            values = values[:, :, ::-1, ::-1] if layer == "conv0" else values
            values = values.transpose(2, 3, 1, 0)
        elif part == "noise_strength":
            values = np.float32(values)  # TensorFlow gives scalars as such, and not as arrays
        elif part == "affine.weight":
            part, values = "mod_weight", values.T
        elif part == "affine.bias":
            part, values = "mod_bias", values - 1
        found.append((f"{side}x{side}/{ours}/{part}", np.ascontiguousarray(values) if values.ndim else values))
    return found


def write(path, network: StyleGAN2, *, protocol: int = 4, version: int = 4, extra: tuple = (), **settings):
    state = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    settings = {"latent_size": 8, "mapping_lrmul": network.design.mapping_rate, "truncation_psi": 0.5, **settings}
    synthesis = Network("G_synthesis", synthesis_variables(state) + list(extra), settings)
    mapping = Network("G_mapping", mapping_variables(state), settings)
    own = [("lod", np.float32(0)), ("dlatent_avg", state["mapping.w_avg"])]
    last = Network("Gs", own, settings, {"synthesis": synthesis, "mapping": mapping}, version)
    other = Network("D", [("4x4/Conv/weight", np.zeros((3, 3, 2, 2), np.float32))], {})
    path.write_bytes(pickle.dumps((other, other, last), protocol=protocol))
    return path


def random_generator(**how) -> StyleGAN2Generator:
    return StyleGAN2Generator(random_stylegan2(design=Design(**{**CONFIG, **how})), noise="const")


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_every_protocol_that_numpy_writes_is_read(tmp_path, protocol):
    generator = random_generator()
    found = load_generator(write(tmp_path / "network.pkl", generator.network, protocol=protocol))
    for name, tensor in generator.module.state_dict().items():
        torch.testing.assert_close(found.module.state_dict()[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "how",
    [{}, {"architecture": "resnet"}, {"architecture": "orig"}, {"c_dim": 3, "embed_dim": 7}, {"clamp": 0.5}],
    ids=["skip", "resnet", "orig", "classes", "clamped"],
)
def test_a_pickle_of_tensorflow_draws_its_images(tmp_path, how):
    generator = random_generator(**how)
    found = load_generator(write(tmp_path / "network.pkl", generator.network, conv_clamp=how.get("clamp")))
    for truncation in (1.0, 0.5):
        found.truncation = generator.truncation = truncation
        torch.testing.assert_close(found.sample([0, 7]), generator.sample([0, 7]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"version": 3}, "holds a TensorFlow network of 'G_main', which is no StyleGAN2"),
        ({"nonlinearity": "relu"}, "was built with nonlinearity = 'relu', which is not known here"),
        ({"resample_kernel": None}, "was built with resample_kernel = None"),
        ({"spectral": 1}, "was built with spectral = 1"),
        ({"extra": (("ToRGB_lod0/weight", np.zeros(3, np.float32)),)}, "by progressive growing"),
        ({"extra": (("16x16/Conv1/bias", np.zeros(1, np.float32)),)}, "has the shape"),
        ({"mapping_lrmul": [1]}, "is no complete StyleGAN2 of NVIDIA's TensorFlow"),
    ],
)
def test_another_network_is_refused_in_a_sentence(tmp_path, how, reason):
    path = write(tmp_path / "network.pkl", random_generator().network, **how)
    with pytest.raises(ValueError, match=r"network\.pkl") as error:
        load_generator(path)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_such_a_pickle_is_not_written_and_the_refusal_says_what_to_do(tmp_path):
    path = write(tmp_path / "network.pkl", random_generator().network)
    with pytest.raises(ValueError, match=r"read and not written: export it as safetensors \(--as safetensors\)"):
        export(load_generator(path), [], tmp_path / "edited.pkl", model=path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["network.pkl"]


def test_inspect_names_the_family(tmp_path, capsys):
    generator = random_generator()
    path = write(tmp_path / "network.pkl", generator.network)
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["family"] == "StyleGAN2 of NVIDIA's TensorFlow repositories"
    assert (found["kind"], found["container"], found["size"]) == ("generator", "pickle", list(generator.size))
    assert list(found["layers"]) == list(generator.layers)


def test_such_a_pickle_goes_out_as_safetensors_and_draws_the_same(tmp_path):
    path = write(tmp_path / "network.pkl", random_generator().network)
    generator = load_generator(path)
    export(generator, [], tmp_path / "network.safetensors", model=path, container="safetensors")
    found = load_generator(tmp_path / "network.safetensors")
    assert torch.equal(found.sample([0, 7]), generator.sample([0, 7]))
