"""Decoders of autoencoders draw pictures: TAESD and AutoencoderKL of diffusers, beside independent statements."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from rewrite import export, load_generator, read_latents
from rewrite.generators.taesd import Part, TinyDecoder
from rewrite.generators.vae import KLDecoder, KLDesign
from tests.networks import patch_of

Z = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(1))
PARTS = {
    1: Part(4, 6, False),
    3: Part(6, 6, True),
    5: Part(6, 6, False, False),
    6: Part(6, 5, True),
    7: Part(5, 3, False),
}
DESIGN = KLDesign(latents=4, channels=(8, 4), blocks=2, groups=2)


def tiny_state() -> dict[str, torch.Tensor]:
    """Tensors by the names of taesd_decoder.pth."""
    torch.manual_seed(0)
    return {name.removeprefix("layers."): each for name, each in TinyDecoder(PARTS).state_dict().items()}


def decoded_by_taesd(state: dict[str, torch.Tensor], z: torch.Tensor) -> torch.Tensor:
    """What TAESD's decoder gives, part by part; colours from 0 to 1."""

    def conv(name, x):
        return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), padding=1)

    def block(name, x):
        y = conv(f"{name}.conv.0", x).relu()
        y = conv(f"{name}.conv.4", conv(f"{name}.conv.2", y).relu())
        skip = state.get(f"{name}.skip.weight")
        return (y + (x if skip is None else F.conv2d(x, skip))).relu()

    x = block("3", conv("1", 3 * torch.tanh(z / 3)).relu())
    x = conv("5", x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    return conv("7", block("6", x))


def kl_state(design: KLDesign = DESIGN) -> dict[str, torch.Tensor]:
    """Tensors by the names of AutoencoderKL, with some of an encoder beside them."""
    torch.manual_seed(0)
    state = {name: each + 0.1 * torch.randn_like(each) for name, each in KLDecoder(design).state_dict().items()}
    return state | {"encoder.conv_in.weight": torch.randn(4, 3, 3, 3), "quant_conv.weight": torch.randn(8, 8, 1, 1)}


def decoded_by_diffusers(state: dict[str, torch.Tensor], z: torch.Tensor) -> torch.Tensor:
    """What AutoencoderKL's decoder gives: two levels of two blocks, groups of two."""

    def conv(name, x):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[2] // 2)

    def normed(name, x):
        return F.group_norm(x, 2, state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def linear(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def resnet(name, x):
        y = conv(f"{name}.conv1", F.silu(normed(f"{name}.norm1", x)))
        y = conv(f"{name}.conv2", F.silu(normed(f"{name}.norm2", y)))
        return y + (conv(f"{name}.conv_shortcut", x) if f"{name}.conv_shortcut.weight" in state else x)

    def attended(name, x):
        positions = normed(f"{name}.group_norm", x).flatten(2).transpose(1, 2)
        query, key, value = (linear(f"{name}.to_{part}", positions) for part in "qkv")
        shares = (query @ key.transpose(1, 2) / query.shape[2] ** 0.5).softmax(dim=2)
        return x + linear(f"{name}.to_out.0", shares @ value).transpose(1, 2).reshape(x.shape)

    x = conv("decoder.conv_in", conv("post_quant_conv", z))
    x = resnet("decoder.mid_block.resnets.0", x)
    x = resnet("decoder.mid_block.resnets.1", attended("decoder.mid_block.attentions.0", x))
    for block in (0, 1):
        x = resnet(f"decoder.up_blocks.0.resnets.{block}", x)
    x = conv("decoder.up_blocks.0.upsamplers.0.conv", x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    for block in (0, 1):
        x = resnet(f"decoder.up_blocks.1.resnets.{block}", x)
    return conv("decoder.conv_out", F.silu(normed("decoder.conv_norm_out", x)))


def written(path, state):
    """A file of torch or of safetensors."""
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def drawn(path, tmp_path) -> torch.Tensor:
    """The images of the latents `Z`, which come from a file."""
    generator = load_generator(path)
    np.save(tmp_path / "z.npy", Z.numpy())
    return generator.images(read_latents(tmp_path / "z.npy", generator))


def edited_and_read_again(path, layer, tmp_path) -> None:
    """An edit goes back into the file, and comes out of it."""
    generator = load_generator(path)
    patch = patch_of(generator, layer)
    export(generator, patch, tmp_path / f"edited{path.suffix}")
    with patch.applied(generator):
        expected = generator.sample([3])
    torch.testing.assert_close(load_generator(tmp_path / f"edited{path.suffix}").sample([3]), expected)
    assert (expected - generator.sample([3])).abs().max() > 1e-3


def test_a_decoder_of_taesd_draws_its_images_and_takes_an_edit(tmp_path):
    path = written(tmp_path / "taesd_decoder.pth", tiny_state())
    expected = 2 * decoded_by_taesd(tiny_state(), Z) - 1
    torch.testing.assert_close(drawn(path, tmp_path), expected, rtol=0, atol=1e-6)
    assert load_generator(path).size == (64, 64)
    edited_and_read_again(path, "layers.3.conv.2", tmp_path)


def test_a_tiny_autoencoder_of_diffusers_is_the_same_decoder_one_place_earlier(tmp_path):
    state = {
        f"decoder.layers.{int(place) - 1}.{rest}": each
        for place, _, rest, each in ((*name.partition("."), each) for name, each in tiny_state().items())
    }
    state |= {
        "encoder.layers.0.weight": torch.randn(6, 3, 3, 3),
        "encoder.layers.1.conv.0.weight": torch.randn(6, 6, 3, 3),
    }
    path = written(tmp_path / "tiny.safetensors", state)
    expected = 2 * decoded_by_taesd(tiny_state(), Z) - 1
    torch.testing.assert_close(drawn(path, tmp_path), expected, rtol=0, atol=1e-6)


def test_the_encoder_of_taesd_is_no_generator(tmp_path):
    state = {"0.weight": torch.randn(6, 3, 3, 3), "1.conv.0.weight": torch.randn(6, 6, 3, 3)}
    with pytest.raises(ValueError, match="holds no generator"):
        load_generator(written(tmp_path / "taesd_encoder.pth", state))


@pytest.mark.parametrize("named", ["now", "before 2023"])
def test_a_decoder_of_diffusers_draws_its_images_and_takes_an_edit(tmp_path, named):
    state = kl_state()
    if named != "now":
        former = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
        for name in list(state):
            for ours, theirs in former.items():
                if ours in name:
                    state[name.replace(ours, theirs)] = state.pop(name)
    path = written(tmp_path / "diffusion_pytorch_model.safetensors", state)
    (tmp_path / "config.json").write_text(json.dumps({"norm_num_groups": 2, "scaling_factor": 0.18}))
    torch.testing.assert_close(drawn(path, tmp_path), decoded_by_diffusers(kl_state(), Z), rtol=0, atol=1e-5)
    edited_and_read_again(path, "decoder.up_blocks.0.resnets.0.conv1", tmp_path)


def test_groups_that_do_not_fit_and_parts_that_are_not_known_are_refused(tmp_path):
    path = written(tmp_path / "vae.pt", kl_state())
    with pytest.raises(ValueError, match="channels do not fall into 32 groups"):
        load_generator(path)
    (tmp_path / "config.json").write_text('{"norm_num_groups": 2}')
    written(path, kl_state() | {"decoder.mid_block.time.weight": torch.ones(3)})
    with pytest.raises(ValueError, match=r"with decoder\.mid_block\.time\.weight, which is not read here"):
        load_generator(path)


def test_latents_that_do_not_fit_a_decoder_are_refused(tmp_path):
    generator = load_generator(written(tmp_path / "taesd_decoder.pth", tiny_state()))
    np.save(tmp_path / "z.npy", np.zeros((2, 4, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"of shape \(2, 4, 8, 8\), the generator takes z of 4096 numbers an image"):
        read_latents(tmp_path / "z.npy", generator)


@pytest.mark.parametrize("kind", ["taesd", "kl"])
def test_a_decoder_of_latents_of_another_size_is_named_behind_its_file(tmp_path, kind, answer, refusal):
    path = written(tmp_path / f"{kind}.pt", {"vae": tiny_state() if kind == "taesd" else kl_state(), "epoch": 3})
    (tmp_path / "config.json").write_text(json.dumps({"norm_num_groups": 2}))
    z = torch.randn(2, 4, 6, 10, generator=torch.Generator().manual_seed(2))
    np.save(tmp_path / "z.npy", z.numpy())
    expected = 2 * decoded_by_taesd(tiny_state(), z) - 1 if kind == "taesd" else decoded_by_diffusers(kl_state(), z)
    usual = load_generator(path)
    for name in (f"{path}::6x10", f"{path}::vae::6x10"):
        generator = load_generator(name)
        assert generator.size == (12, 20)
        found = generator.images(read_latents(tmp_path / "z.npy", generator))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        # What is measured at one size is not taken for another.
        assert generator.fingerprint != usual.fingerprint
    with pytest.raises(ValueError, match=r"the generator takes z of 4096 numbers an image, .*FILE::6x10"):
        read_latents(tmp_path / "z.npy", usual)
    answer("sample", f"{path}::6x10", "--latents", tmp_path / "z.npy", "--out", tmp_path / "a.png")
    assert answer("inspect", f"{path}::6x10")["size"] == [12, 20]
    layer = "layers.3.conv.2" if kind == "taesd" else "decoder.up_blocks.0.resnets.0.conv1"
    patch = patch_of(generator, layer)
    export(generator, patch, tmp_path / "edited.pt")
    with patch.applied(generator):
        after = generator.sample([3])
    torch.testing.assert_close(load_generator(f"{tmp_path / 'edited.pt'}::6x10").sample([3]), after)
    assert "pixels a side" in refusal("sample", f"{path}::9999x9", "--out", tmp_path / "a.png") or kind == "kl"
    assert "is no decoder of an autoencoder" in refusal("sample", "towers::8x8", "--out", tmp_path / "a.png")


def test_latents_of_as_many_numbers_in_another_shape_are_refused(tmp_path):
    generator = load_generator(written(tmp_path / "taesd_decoder.pth", tiny_state()))
    np.save(tmp_path / "z.npy", np.zeros((2, 4, 16, 64), np.float32))
    with pytest.raises(
        ValueError, match=r"takes z of 4096 numbers an image, \(4, 32, 32\): open the model as FILE::16x64"
    ):
        read_latents(tmp_path / "z.npy", generator)
    np.save(tmp_path / "z.npy", Z.flatten(1).numpy())
    assert torch.equal(generator.images(read_latents(tmp_path / "z.npy", generator)), generator.module(Z))
