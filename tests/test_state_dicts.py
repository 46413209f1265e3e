"""Generators that are told from the names and shapes of a state dict: DCGAN, and the residual one of SNGAN's ports."""

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from apps.cli import main
from rewrite import export, load_generator
from tests.foreign_files import Mimicry, example, settled, state_of
from tests.networks import edit_of


def saved(path, content):
    torch.save(content, path)
    return path


def latents(*seeds: int, size: int = 10) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([np.random.RandomState(seed).randn(1, size) for seed in seeds])).float()


def same_images(path, network: nn.Module, shape: tuple = (-1, 10, 1, 1)) -> None:
    found = load_generator(path).sample([0, 7])
    with torch.no_grad():
        expected = network(latents(0, 7).reshape(shape)).expand(-1, 3, -1, -1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("colours", "bias"), [(3, False), (3, True), (1, False)])
def test_a_dcgan_of_the_example_draws_its_images(tmp_path, colours, bias):
    network = example(colours, bias)
    same_images(saved(tmp_path / "netG.pth", state_of(network)), network)


@pytest.mark.parametrize(
    ("prefix", "entry"),
    [
        ("", None),
        ("module.main.", "netG"),
        ("netG.main.", "state_dict"),
        ("generator.net.", "model_state_dict"),
        ("module.layers.", "generator"),
        ("G.", "G"),
    ],
)
def test_a_dcgan_is_found_under_other_names(tmp_path, prefix, entry):
    network = example()
    state = state_of(network, prefix)
    path = saved(tmp_path / "model.pt", state if entry is None else {"epoch": 3, entry: state, "optimizer": {}})
    same_images(path, network)


def test_a_dcgan_saved_together_with_its_discriminator_is_found(tmp_path):
    network = example()
    other = OrderedDict({"netD.main.0.weight": torch.randn(6, 3, 4, 4), "netD.main.2.weight": torch.randn(1, 6, 4, 4)})
    same_images(saved(tmp_path / "model.pt", {"state_dict": state_of(network, "netG.main.") | other}), network)


class Projecting(nn.Module):
    """A linear layer before the first map, with batch normalisation before or after it is a map."""

    def __init__(self, kernel: int, flat: bool):
        super().__init__()
        how = {5: (2, 2, 1), 4: (2, 1, 0), 2: (2, 0, 0)}[kernel]
        self.l1 = nn.Linear(10, 8 * 16, bias=False)
        self.n1 = nn.BatchNorm1d(8 * 16) if flat else nn.BatchNorm2d(8)
        self.c2 = nn.ConvTranspose2d(8, 6, kernel, *how)
        self.n2 = nn.BatchNorm2d(6)
        self.c3 = nn.ConvTranspose2d(6, 3, kernel, *how)
        self.flat = flat

    def forward(self, z):
        x = self.l1(z)
        x = self.n1(x).reshape(-1, 8, 4, 4) if self.flat else self.n1(x.reshape(-1, 8, 4, 4))
        return torch.tanh(self.c3(F.relu(self.n2(self.c2(F.relu(x))))))


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("kernel", [2, 4, 5])
def test_a_dcgan_that_projects_z_draws_its_images(tmp_path, kernel, flat):
    network = settled(Projecting(kernel, flat))
    same_images(saved(tmp_path / "model.pt", network.state_dict()), network, (-1, 10))


@pytest.mark.parametrize(("layer", "name"), [("layer1.conv", "main.0.weight"), ("layer3.conv", "main.6.weight")])
def test_an_edited_dcgan_goes_back_into_its_file_with_one_tensor_changed(tmp_path, layer, name):
    path = saved(tmp_path / "netG.pth", {"netG": state_of(example()), "epoch": 4})
    generator, patch = edit_of(path, layer)
    export(generator, patch, tmp_path / "edited.pth", model=path)
    before, after = torch.load(path, weights_only=True), torch.load(tmp_path / "edited.pth", weights_only=True)
    assert [key for key in before["netG"] if not torch.equal(before["netG"][key], after["netG"][key])] == [name]
    with patch.applied(generator):
        assert torch.equal(after["netG"][name], generator.weight(layer))
        expected = generator.sample([3])
    network = example()
    network.load_state_dict({key.removeprefix("main."): value for key, value in after["netG"].items()})
    with torch.no_grad():
        torch.testing.assert_close(network(latents(3)[:, :, None, None]), expected, rtol=0, atol=1e-5)
    export(generator, [], tmp_path / "same.pth", model=path)
    assert (tmp_path / "same.pth").read_bytes() == path.read_bytes()


def changed(**others: torch.Tensor | None) -> OrderedDict:
    """The example's state dict with some tensors replaced or, where None, left out; keys spell dots as __."""
    state = state_of(example())
    for name, tensor in others.items():
        name = name.replace("__", ".")
        state.pop(name) if tensor is None else state.update({name: tensor})
    return state


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (changed(main__3__weight=torch.zeros(12, 8, 3, 3)), "do not say the stride of main.3, whose kernel is 3x3"),
        (changed(main__3__weight=torch.zeros(12, 8, 4, 2)), "do not say the stride of main.3, whose kernel is 4x2"),
        (changed(main__4__weight=None), "layer2.norm.weight is missing"),
        (changed(main__4__running_mean=torch.zeros(5)), "which batch normalisation follows main.3"),
        (changed(attention__gamma=torch.zeros(1)), "do not say what attention does"),
        (changed(main__4__running_var=torch.full([8], np.nan)), "not finite, first in layer2.norm.running_var"),
        (changed(main__0__weight_u=torch.zeros(10)), "spectral or weight normalisation, first main.0.weight_u"),
    ],
)
def test_a_dcgan_whose_shapes_leave_something_open_is_refused(tmp_path, state, reason):
    path = saved(tmp_path / "model.pt", state)
    with pytest.raises(ValueError, match=r"model\.pt") as error:
        load_generator(path)
    assert "\n" not in str(error.value)
    assert reason in str(error.value)
    if "do not say" in reason:
        assert "rewrite.wrap" in str(error.value)


def test_a_first_map_that_is_no_square_is_refused(tmp_path):
    state = settled(Projecting(4, True)).state_dict()
    state["l1.weight"] = torch.zeros(8 * 15, 10)
    with pytest.raises(ValueError, match="of which size the first map is, which l1 makes"):
        load_generator(saved(tmp_path / "model.pt", state))


def test_a_discriminator_is_taken_for_no_generator(tmp_path):
    layers = [nn.Conv2d(3, 6, 4, 2, 1), nn.LeakyReLU(), nn.Conv2d(6, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 1, 4)]
    path = saved(tmp_path / "netD.pth", nn.Sequential(*layers).state_dict())
    with pytest.raises(ValueError, match="holds no generator that is known here"):
        load_generator(path)


def test_a_refusal_ends_the_names_that_it_quotes_between_two_of_them(tmp_path):
    state = {f"a_layer_of_a_long_name.{index}.weight": torch.zeros(2) for index in range(9)}
    with pytest.raises(ValueError, match=r"it holds a_layer_of_a_long_name\.0\.weight, [^;]*\.weight …; where"):
        load_generator(saved(tmp_path / "model.pt", state))


@pytest.mark.parametrize("last", ["c5", "conv5"])
def test_a_residual_generator_draws_its_images(tmp_path, last):
    network = settled(Mimicry(last))
    content = {"model_state_dict": network.state_dict(), "optimizer_state_dict": {}, "global_step": 9}
    same_images(saved(tmp_path / "netG.pth", content), network, (-1, 10))


def test_an_edited_residual_generator_goes_back_into_its_file(tmp_path):
    path = saved(tmp_path / "netG.pth", settled(Mimicry()).state_dict())
    generator, patch = edit_of(path, "block3.c1")
    export(generator, patch, tmp_path / "edited.pth", model=path)
    before, after = torch.load(path, weights_only=True), torch.load(tmp_path / "edited.pth", weights_only=True)
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["block3.c1.weight"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"block2.c1.sn_u": torch.zeros(1, 8)}, "spectral or weight normalisation, first block2.c1.sn_u"),
        ({"block2.b1.embed.weight": torch.zeros(10, 24)}, "with block2.b1.embed.weight, which is not read here"),
        ({"block3.c1.weight": torch.zeros(8, 7, 3, 3)}, "its layers do not fit together"),
        ({"l1.weight": torch.zeros(12 * 35, 10)}, "l1.weight has the shape"),
        ({"c5.weight": torch.zeros(2, 6, 3, 3)}, "it would draw 2 colours"),
        ({"c5.weight": None}, "is not a complete residual generator"),
    ],
)
def test_a_residual_generator_with_other_parts_is_refused(tmp_path, change, reason):
    state = settled(Mimicry()).state_dict()
    state.update({name: tensor for name, tensor in change.items() if tensor is not None})
    for name in [name for name, tensor in change.items() if tensor is None]:
        del state[name]
    with pytest.raises(ValueError, match=r"model\.pt") as error:
        load_generator(saved(tmp_path / "model.pt", state))
    assert reason in str(error.value)


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_file_of_lucidrains_port_is_recognised_and_refused(tmp_path, wrapped):
    state = {"S.net.0.weight": torch.zeros(2, 2), "GE.blocks.0.to_style1.weight": torch.zeros(3, 2)}
    path = saved(tmp_path / "model_1.pt", {"GAN": state, "version": "1.5.1"} if wrapped else state)
    with pytest.raises(ValueError, match=r"is a StyleGAN2 of lucidrains' port, which is not read, .*rewrite\.wrap"):
        load_generator(path)


def test_inspect_names_family_model_size_and_layers_of_a_foreign_file(tmp_path, capsys):
    path = saved(tmp_path / "netG.pth", state_of(example()))
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["family"]) == ("generator", "DCGAN")
    assert found["container"] == "PyTorch checkpoint (zip)"
    assert found["model"] == load_generator(path).fingerprint
    assert found["size"] == [32, 32]
    assert found["weights"] == sum(parameter.numel() for parameter in example().parameters())
    assert found["layers"]["layer2.conv"] == "12 to 8 channels at 8 x 8"


def test_inspect_describes_the_container_of_what_is_no_generator_and_says_why(tmp_path, capsys):
    path = saved(tmp_path / "net.pth", {"fc.weight": torch.zeros(3, 4)})
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "PyTorch checkpoint (zip)"
    assert "no generator that is known here; it holds fc.weight" in found["generator"]


def test_a_dcgan_that_went_out_as_safetensors_is_inspected_too(tmp_path, capsys):
    path = saved(tmp_path / "netG.pth", state_of(example()))
    export(load_generator(path), [], tmp_path / "netG.safetensors", model=path, container="safetensors")
    assert main(["inspect", str(tmp_path / "netG.safetensors"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["family"], found["size"]) == ("generator", "DCGAN", [32, 32])
