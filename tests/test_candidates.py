"""A generator is found in a file under any key and prefix, in any order of entries; of several, the user names one."""

import argparse
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from rewrite import export, load_generator
from rewrite.checkpoints import native
from rewrite.checkpoints.candidates import split_choice, split_size
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.generators.stylegan3 import Design3
from tests.foreign_files import example, rosinality_state, settled, state_of
from tests.networks import CONFIG, patch_of, random_stylegan2, random_stylegan3
from tests.nvidia_files import write_stylegan2, write_stylegan3, write_tensorflow
from tests.test_state_dicts import Projecting, same_images, saved


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        (["netG_state_dict"], "main."),
        (["generator_state_dict"], "main."),
        (["params_ema"], ""),
        (["models", "generator", "weights"], "module.main."),
        (["state_dict"], "net_g.main."),
        (["ema"], "_orig_mod.main."),
        ([], "ema_model.module.main."),
    ],
)
def test_a_generator_is_found_under_any_key_and_prefix(tmp_path, keys, prefix):
    network = example()
    content = state_of(network, prefix)
    for key in reversed(keys):
        content = {"epoch": 3, key: content, "optimizer": {"state": {}, "param_groups": []}}
    same_images(saved(tmp_path / "model.pt", content), network)


def test_what_stands_beside_a_generator_in_the_state_of_a_lightning_module_is_no_part_of_it(tmp_path):
    network, judge = example(), nn.Sequential(nn.Conv2d(3, 6, 4), nn.Conv2d(6, 1, 4))
    state = state_of(network, "net_g.") | state_of(judge, "net_d.")
    path = saved(tmp_path / "last.ckpt", {"state_dict": state, "pytorch-lightning_version": "2.0"})
    same_images(path, network)
    export(load_generator(path), [], tmp_path / "edited.pt", container="state-dict")
    assert all(name.startswith("net_g.") for name in torch.load(tmp_path / "edited.pt")["state_dict"])
    same_images(tmp_path / "edited.pt", network)


def test_the_average_over_training_is_preferred_and_the_other_opens_by_its_key(tmp_path):
    last, average = example(), settled(example(bias=True))
    state = state_of(last, "online_model.main.") | state_of(average, "ema_model.main.")
    path = saved(tmp_path / "ema.pt", {**state, "initted": torch.tensor(True), "step": torch.tensor(7)})
    same_images(path, average)
    same_images(f"{path}::online_model", last)


def test_of_several_generators_the_user_names_one(tmp_path, refusal):
    one, other = example(), example(colours=1)
    path = saved(tmp_path / "pair.pt", {"netG_A": state_of(one), "netG_B": state_of(other)})
    with pytest.raises(ValueError, match=r"2 generators .*name one as pair\.pt::netG_A or pair\.pt::netG_B"):
        load_generator(path)
    same_images(f"{path}::netG_A", one)
    same_images(f"{path}::netG_B", other)
    generator = load_generator(f"{path}::netG_B")
    export(generator, patch_of(generator, "layer2.conv"), tmp_path / "edited.pt")
    before, after = torch.load(path), torch.load(tmp_path / "edited.pt")
    changed = [(key, name) for key in before for name in before[key] if not before[key][name].equal(after[key][name])]
    assert changed == [("netG_B", "main.3.weight")]
    assert "holds nothing at 'netG_C'; it holds netG_A, netG_B" in refusal(
        "sample", f"{path}::netG_C", "--out", tmp_path / "a.png"
    )


def test_one_network_under_two_names_is_one(tmp_path):
    network = example()
    state = state_of(network)
    same_images(saved(tmp_path / "twice.pt", {"best": state, "last": OrderedDict(state)}), network)


@pytest.mark.parametrize("make", [example, lambda: settled(Projecting(4, True)), lambda: settled(Projecting(4, False))])
def test_a_dcgan_opens_from_safetensors_whose_names_are_sorted(tmp_path, make):
    network = make()
    safetensors.torch.save_file(network.state_dict(), tmp_path / "netG.safetensors")
    same_images(tmp_path / "netG.safetensors", network, (-1, 10, 1, 1) if make is example else (-1, 10))


def test_a_dcgan_opens_whatever_the_order_of_its_entries(tmp_path):
    network = settled(Projecting(5, True))
    state = network.state_dict()
    for seed in range(4):
        names = list(np.random.RandomState(seed).permutation(list(state)))
        path = saved(tmp_path / "netG.pth", {str(name): state[str(name)] for name in names})
        same_images(path, network, (-1, 10))


def test_the_decoder_of_an_autoencoder_is_taken_for_a_generator_only_where_it_is_named(tmp_path):
    network = example()
    encoder = nn.Sequential(nn.Conv2d(3, 6, 4), nn.Conv2d(6, 10, 4))
    path = saved(tmp_path / "vae.pt", {"encoder": state_of(encoder), "decoder": state_of(network)})
    with pytest.raises(ValueError, match="holds no generator that is known here"):
        load_generator(path)
    same_images(f"{path}::decoder", network)


@pytest.mark.parametrize("protocol", [2, 4])
def test_numbers_of_numpy_beside_the_tensors_spoil_nothing(tmp_path, protocol):
    network = example()
    beside = {
        "best_fid": np.float64(12.5),
        "losses": np.arange(3.0),
        "names": np.array(["a", "b"]),
        "objects": np.array([{}, None], dtype=object),
        "options": argparse.Namespace(lr=1e-3),
    }
    torch.save({**beside, "netG": state_of(network)}, tmp_path / "model.pt", pickle_protocol=protocol)
    same_images(tmp_path / "model.pt", network)


class Anywhere(nn.Module):
    """A generator of a class that no other program knows."""

    def __init__(self):
        super().__init__()
        self.main = example()

    def forward(self, z):
        return self.main(z)


@pytest.mark.parametrize("make", [example, Anywhere], ids=["Sequential", "own class"])
def test_a_module_that_was_saved_whole_gives_its_tensors(tmp_path, make):
    network = make().eval()
    same_images(saved(tmp_path / "netG.pt", network), network)
    same_images(saved(tmp_path / "both.pt", {"G": network, "epoch": 1}), network)


def test_a_module_that_was_saved_whole_and_is_built_in_another_way_is_refused(tmp_path):
    network = example()
    network[2] = nn.ELU()
    with pytest.raises(ValueError, match="is a DCGAN with ELU at 2, which is not read here"):
        load_generator(saved(tmp_path / "netG.pt", network))
    network = example()
    network[3].stride = (1, 1)
    with pytest.raises(ValueError, match="whose 3 has stride and padding"):
        load_generator(saved(tmp_path / "netG.pt", network))


def test_the_decoder_of_psp_and_its_mean_latent_are_found(tmp_path, scaled):
    state = rosinality_state(scaled.network)
    held = {f"decoder.{name}": tensor for name, tensor in state.items()} | {"encoder.body.0.weight": torch.zeros(3, 3)}
    mean = scaled.network.mapping.w_avg
    content = {"state_dict": held, "latent_avg": mean.repeat(6, 1), "opts": {"lr": 1e-4}}
    found = load_generator(saved(tmp_path / "psp_ffhq_encode.pt", content))
    scaled.truncation = found.truncation = 0.5
    torch.testing.assert_close(found.sample([0, 7]), scaled.sample([0, 7]), rtol=0, atol=1e-6)
    content["latent_avg"][1] += 1
    with pytest.raises(ValueError, match="another mean latent for each layer"):
        load_generator(saved(tmp_path / "psp.pt", content))


@pytest.mark.parametrize("first", [False, True])
def test_labels_among_the_inputs_of_a_dcgan_are_not_drawn_as_noise(tmp_path, first):
    state = state_of(example())
    state["main.0.weight"][(slice(0, 3) if first else slice(-3, None))] *= 4
    reason = rf"DCGAN of 3 classes: the {'first' if first else 'last'} 3 of its 10 inputs .*rewrite\.wrap"
    with pytest.raises(ValueError, match=reason):
        load_generator(saved(tmp_path / "netG.pth", state))


@pytest.mark.parametrize(
    "beside",
    [
        {"first.weight": torch.zeros(4, 3), "second.weight": torch.zeros(3, 3), "norm.running_mean": torch.zeros(3)},
        {"first.weight": torch.zeros(4, 3), "norm.running_mean": torch.tensor(1.0)},
    ],
    ids=["two linear layers", "a mean of one number"],
)
def test_what_looks_a_little_like_a_generator_hides_none(tmp_path, beside):
    network = example()
    same_images(saved(tmp_path / "both.pt", {"embedding": beside, "netG": state_of(network)}), network)


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("how", [{}, {"architecture": "resnet"}, {"architecture": "orig"}, {"c_dim": 3}])
def test_a_state_dict_of_nvidias_stylegan2_draws_its_images(tmp_path, how, wrapped):
    generator = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, **how)), noise="const")
    state = generator.module.state_dict()
    state["synthesis.b8.conv0.resample_filter"] = generator.network.synthesis.b8.conv0.blur.taps / 4
    path = saved(tmp_path / "network.pt", {"G": None, "G_ema": state} if wrapped else state)
    assert torch.equal(load_generator(path).sample([0, 7]), generator.sample([0, 7]))
    state["synthesis.b8.conv0.resample_filter"] = torch.ones(4, 4)
    with pytest.raises(ValueError, match="another low-pass filter"):
        load_generator(saved(tmp_path / "network.pt", state))


@pytest.mark.parametrize("how", [{}, {"conv_kernel": 1, "use_radial_filters": True}, {"c_dim": 3}], ids="TRC")
def test_a_state_dict_of_nvidias_stylegan3_draws_its_images(tmp_path, how):
    design = Design3(z_dim=8, w_dim=8, img_resolution=32, channel_base=4096, channel_max=32, num_layers=5, **how)
    generator = random_stylegan3(design)
    state = generator.module.state_dict()
    path = saved(tmp_path / "network.pt", {"G_ema": state})
    assert torch.equal(load_generator(path).sample([0]), generator.sample([0]))
    name = next(name for name in state if name.endswith("L1_36_32.up_filter"))
    state[name] = state[name] * 1.01
    with pytest.raises(ValueError, match=r"not those of configurations T and R: use the \.pkl"):
        load_generator(saved(tmp_path / "network.pt", state))


@pytest.mark.parametrize("tool", ["nvidia", "nvidia3", "tensorflow", "ours"])
def test_a_state_dict_that_was_exported_opens_again_and_draws_the_edit(tmp_path, tool):
    two, three = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, clamp=0.5))), random_stylegan3()
    path, out = tmp_path / "model.safetensors", tmp_path / "edited.pt"
    write = {
        "nvidia": lambda: write_stylegan2(path.with_suffix(".pkl"), two),
        "nvidia3": lambda: write_stylegan3(path.with_suffix(".pkl"), three),
        "tensorflow": lambda: write_tensorflow(path.with_suffix(".pkl"), two.network, conv_clamp=0.5),
        "ours": lambda: native.save(path, two, {}) or path,
    }
    generator = load_generator(write[tool]())
    patch = patch_of(generator, list(generator.layers)[2])
    export(generator, patch, out, container="state-dict")
    with patch.applied(generator):
        assert torch.equal(load_generator(out).sample([3, 4]), generator.sample([3, 4]))
    assert all(isinstance(tensor, torch.Tensor) for tensor in torch.load(out, weights_only=True).values())
    again = load_generator(out)
    export(again, patch_of(again, patch.layer, seed=1), tmp_path / "twice.pt")
    assert not torch.equal(load_generator(tmp_path / "twice.pt").sample([3]), again.sample([3]))


@pytest.mark.parametrize(
    ("model", "name", "key", "size"),
    [
        ("a.pt", "a.pt", None, None),
        ("a.pt::g", "a.pt", "g", None),
        ("a.pt::64x48", "a.pt", None, (64, 48)),
        ("a.pt::g.vae::64x48", "a.pt", "g.vae", (64, 48)),
        ("a.pt::64x", "a.pt", "64x", None),
        ("a.pt::0x4", "a.pt", "0x4", None),
    ],
)
def test_a_key_and_a_size_are_named_behind_a_file(model, name, key, size):
    found, rest = split_choice(model)
    assert (found, *split_size(rest)) == (name, key, size)
