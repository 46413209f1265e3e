"""Pickles of NVIDIA's TensorFlow StyleGAN2 open without TensorFlow, and their code is never run."""

import json

import numpy as np
import pytest
import torch

from apps.cli import main
from rewrite import export, load_generator
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from tests.networks import CONFIG, random_stylegan2
from tests.nvidia_files import write_tensorflow


def random_generator(**how) -> StyleGAN2Generator:
    return StyleGAN2Generator(random_stylegan2(design=Design(**{**CONFIG, **how})), noise="const")


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_every_protocol_that_numpy_writes_is_read(tmp_path, protocol):
    generator = random_generator()
    found = load_generator(write_tensorflow(tmp_path / "network.pkl", generator.network, protocol=protocol))
    for name, tensor in generator.module.state_dict().items():
        torch.testing.assert_close(found.module.state_dict()[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "how",
    [{}, {"architecture": "resnet"}, {"architecture": "orig"}, {"c_dim": 3, "embed_dim": 7}, {"clamp": 0.5}],
    ids=["skip", "resnet", "orig", "classes", "clamped"],
)
def test_a_pickle_of_tensorflow_draws_its_images(tmp_path, how):
    generator = random_generator(**how)
    found = load_generator(write_tensorflow(tmp_path / "network.pkl", generator.network, conv_clamp=how.get("clamp")))
    for truncation in (1.0, 0.5):
        found.truncation = generator.truncation = truncation
        torch.testing.assert_close(found.sample([0, 7]), generator.sample([0, 7]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"version": 3}, "holds a TensorFlow network of 'G_main', which is not a StyleGAN2"),
        ({"nonlinearity": "relu"}, "was built with nonlinearity = 'relu', which is not known here"),
        ({"resample_kernel": None}, "was built with resample_kernel = None"),
        ({"spectral": 1}, "was built with spectral = 1"),
        ({"extra": (("ToRGB_lod0/weight", np.zeros(3, np.float32)),)}, "by progressive growing"),
        ({"extra": (("16x16/Conv1/bias", np.zeros(1, np.float32)),)}, "has the shape"),
        ({"mapping_lrmul": [1]}, "is not a complete StyleGAN2 of NVIDIA's TensorFlow"),
    ],
)
def test_another_network_is_refused_in_a_sentence(tmp_path, how, reason):
    path = write_tensorflow(tmp_path / "network.pkl", random_generator().network, **how)
    with pytest.raises(ValueError, match=r"network\.pkl") as error:
        load_generator(path)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_such_a_pickle_is_not_written_and_the_refusal_says_what_to_do(tmp_path):
    path = write_tensorflow(tmp_path / "network.pkl", random_generator().network)
    with pytest.raises(ValueError, match=r"read and not written: export it as safetensors \(--as safetensors\)"):
        export(load_generator(path), [], tmp_path / "edited.pkl", model=path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["network.pkl"]


def test_inspect_names_the_family(tmp_path, capsys):
    generator = random_generator()
    path = write_tensorflow(tmp_path / "network.pkl", generator.network)
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["family"] == "StyleGAN2 of NVIDIA's TensorFlow repositories"
    assert (found["kind"], found["container"], found["size"]) == ("generator", "pickle", list(generator.size))
    assert list(found["layers"]) == list(generator.layers)


def test_such_a_pickle_goes_out_as_safetensors_and_draws_the_same(tmp_path):
    path = write_tensorflow(tmp_path / "network.pkl", random_generator().network)
    generator = load_generator(path)
    export(generator, [], tmp_path / "network.safetensors", model=path, container="safetensors")
    found = load_generator(tmp_path / "network.safetensors")
    assert torch.equal(found.sample([0, 7]), generator.sample([0, 7]))
