"""An edit is written out in three containers, and is found again when the file is loaded."""

import json
from dataclasses import asdict, replace

import pytest
import safetensors.torch
import torch

from rewrite import Stack, export, load_generator
from rewrite.checkpoints import native
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.storage import files
from tests.foreign_files import (
    Mimicry,
    example,
    proggan_state,
    rosinality_state,
    sequential,
    settled,
    state_of,
    write_rosinality,
)
from tests.networks import CONFIG, SMALL3, patch_of, random_stylegan2, random_stylegan3
from tests.nvidia_files import stylegan2, write_network, write_stylegan2, write_stylegan3, write_tensorflow

LAYER = "b8.conv1"


@pytest.fixture
def rosinality(tmp_path, scaled):
    """A file of rosinality's port, which keeps a fixed filter and another network's tensors beside ours."""
    path = write_rosinality(tmp_path / "model.pt", scaled)
    content = torch.load(path, weights_only=True)
    content["g_ema"]["convs.0.conv.blur.kernel"] = torch.ones(4, 4)
    torch.save(content, path)
    return path


def edited(path, out, layer: str, container: str):
    """Export an edit of a file, and give the images that it should draw and those of the file that was written."""
    generator = load_generator(path)
    patch = patch_of(generator, layer)
    export(generator, patch, out, model=path, container=container)
    with patch.applied(generator):
        expected = generator.sample([3, 4])
    assert not torch.equal(expected, generator.sample([3, 4]))
    return expected, load_generator(out).sample([3, 4])


@pytest.mark.parametrize("rename", [lambda state: state, sequential], ids=["port", "rewriting release"])
@pytest.mark.parametrize(("container", "ending"), [("safetensors", "safetensors"), ("state-dict", "pth")])
def test_a_file_of_rosinalitys_port_keeps_its_names_and_draws_the_edit(tmp_path, scaled, rename, container, ending):
    path, out = write_rosinality(tmp_path / "model.pt", scaled, rename), tmp_path / f"edited.{ending}"
    expected, found = edited(path, out, LAYER, container)
    assert torch.equal(found, expected)
    if container == "safetensors":
        state = safetensors.torch.load_file(out)
    else:
        content = torch.load(out, weights_only=True)
        assert set(content) == {"g_ema", "latent_avg"}
        state = {**content["g_ema"], "latent_avg": content["latent_avg"]}
    original = rename(rosinality_state(scaled.network)) | {"latent_avg": scaled.network.mapping.w_avg}
    changed = [name for name in original if not torch.equal(state.pop(name), original[name])]
    assert len(changed) == 1
    assert changed[0].startswith(("convs.1.", "layer4."))
    assert state == {}


def test_every_tensor_of_the_generator_is_written_and_none_of_other_networks(rosinality, tmp_path):
    edited(rosinality, tmp_path / "edited.safetensors", LAYER, "safetensors")
    state = safetensors.torch.load_file(tmp_path / "edited.safetensors")
    assert "unrelated" not in state
    assert torch.equal(state["convs.0.conv.blur.kernel"], torch.ones(4, 4))


@pytest.mark.parametrize(
    "how",
    [{}, {"architecture": "resnet"}, {"architecture": "orig"}, {"c_dim": 3}, {"clamp": 0.5}],
    ids=["skip", "resnet", "orig", "classes", "clamped"],
)
def test_a_pickle_of_nvidia_becomes_a_safetensors_file_that_draws_the_edit(tmp_path, how):
    generator = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, **how)), noise="const")
    path, out = write_stylegan2(tmp_path / "model.pkl", generator), tmp_path / "edited.safetensors"
    expected, found = edited(path, out, LAYER, "safetensors")
    assert torch.equal(found, expected)
    assert set(safetensors.torch.load_file(out)) == set(generator.module.state_dict())


def test_the_state_dict_of_a_pickle_of_nvidia_has_its_filters_too(tmp_path):
    generator = StyleGAN2Generator(random_stylegan2(), noise="const")
    network, taps = generator.network, generator.network.synthesis.b8.conv0.blur.taps / 4
    network.synthesis.b8.conv0.register_buffer("resample_filter", taps)
    path = write_network(tmp_path / "model.pkl", stylegan2(network))
    loaded = load_generator(path)
    patch = patch_of(loaded, LAYER)
    export(loaded, patch, tmp_path / "edited.pt", model=path, container="state-dict")
    state = torch.load(tmp_path / "edited.pt", weights_only=True)
    with patch.applied(loaded):
        assert torch.equal(state[f"synthesis.{LAYER}.weight"], loaded.weight(LAYER))
    assert torch.equal(state["synthesis.b8.conv0.resample_filter"], taps)
    assert set(loaded.module.state_dict()) < set(state)


@pytest.mark.parametrize("container", ["safetensors", "state-dict"])
@pytest.mark.parametrize("nested", [False, True])
def test_other_families_are_loaded_again_by_their_names_or_the_order_of_their_shapes(tmp_path, container, nested):
    ending = "pt" if container == "state-dict" else container
    for name, state, layer in (
        ("proggan", proggan_state(), "layer4.conv"),
        ("older", proggan_state(older=True), "layer4.conv"),
        ("dcgan", state_of(example()), "layer2.conv"),
        ("residual", state_of(settled(Mimicry()), ""), "block3.c1"),
    ):
        content = {"state_dict": state, "epoch": 3} if nested else state
        torch.save(content, tmp_path / f"{name}.pth")
        expected, found = edited(tmp_path / f"{name}.pth", tmp_path / f"{name}.{ending}", layer, container)
        assert torch.equal(found, expected)


def test_a_pickle_of_tensorflow_that_is_not_written_becomes_a_safetensors_file(tmp_path):
    generator = StyleGAN2Generator(random_stylegan2(), noise="const")
    path, out = write_tensorflow(tmp_path / "model.pkl", generator.network), tmp_path / "edited.safetensors"
    expected, found = edited(path, out, LAYER, "safetensors")
    assert torch.equal(found, expected)


@pytest.mark.parametrize("how", [{}, {"conv_kernel": 1, "use_radial_filters": True}, {"c_dim": 3}], ids="TRC")
def test_a_stylegan3_becomes_a_safetensors_file_that_draws_the_edit(tmp_path, answer, how):
    generator = random_stylegan3(replace(SMALL3, **how))
    path, out = write_stylegan3(tmp_path / "model.pkl", generator), tmp_path / "edited.safetensors"
    layer = list(generator.layers)[2]
    expected, found = edited(path, out, layer, "safetensors")
    assert torch.equal(found, expected)
    assert set(safetensors.torch.load_file(out)) == set(generator.module.state_dict())
    told = answer("inspect", out)
    assert (told["family"], told["edits"]) == (
        "stylegan3",
        [{"layers": [f"synthesis.{layer}.weight"]}],
    )


def test_a_stylegan3_of_ours_is_edited_once_more_and_tells_both_edits(tmp_path):
    generator = random_stylegan3()
    path, first = write_stylegan3(tmp_path / "model.pkl", generator), tmp_path / "first.safetensors"
    second, (one, other) = tmp_path / "second.safetensors", list(generator.layers)[1:3]
    edited(path, first, one, "safetensors")
    expected, found = edited(first, second, other, "same")
    assert torch.equal(found, expected)
    assert [each["layers"] for each in files.read_header(second)[1]["edits"]] == [
        [f"synthesis.{name}.weight"] for name in (one, other)
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filter_size": 4096}, "is built: a filter has at most 64 taps, got 4096"),
        ({"first_cutoff": float("inf")}, "does not say how its generator is built"),
        ({"num_layers": 5}, "does not hold what its header says"),
        ({"img_resolution": 10**6}, "does not say how its generator is built"),
        ({"channel_base": 2**20}, "does not hold what its header says"),
    ],
)
def test_a_stylegan3_of_ours_with_another_design_than_its_tensors_is_refused(tmp_path, change, message):
    generator, path = random_stylegan3(), tmp_path / "model.safetensors"
    native.save(path, generator, {}, config=asdict(SMALL3) | change)
    with pytest.raises(ValueError, match=message):
        load_generator(path)


def test_a_generator_beside_its_discriminator_is_written_alone(tmp_path):
    state = state_of(example(), "netG.main.") | {"netD.main.0.weight": torch.zeros(8, 3, 4, 4)}
    torch.save(state, tmp_path / "model.pth")
    edited(tmp_path / "model.pth", tmp_path / "edited.safetensors", "layer2.conv", "safetensors")
    names = set(safetensors.torch.load_file(tmp_path / "edited.safetensors"))
    assert names == {name for name in state if name.startswith("netG.")}


def test_a_safetensors_file_of_another_tool_is_opened_and_goes_back_byte_for_byte(tmp_path, scaled):
    path, out = tmp_path / "model.safetensors", tmp_path / "edited.safetensors"
    state = rosinality_state(scaled.network) | {"latent_avg": scaled.network.mapping.w_avg}
    safetensors.torch.save_file(state, path, {"format": "pt"})
    expected, found = edited(path, out, LAYER, "same")
    assert torch.equal(found, expected)
    before, after = path.read_bytes(), out.read_bytes()
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    assert 0 < changed <= 4 * scaled.weight(LAYER).numel()


def test_a_safetensors_file_of_nothing_known_says_what_it_holds(tmp_path):
    safetensors.torch.save_file({"what": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="no generator that is known here; it holds what"):
        load_generator(tmp_path / "model.safetensors")


def test_the_header_of_a_safetensors_export_tells_the_story_of_all_edits(rosinality, tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    generator = load_generator(rosinality)
    export(generator, patch_of(generator, LAYER, 0), first, model=rosinality, container="safetensors", strengths=[0.5])
    again = load_generator(first)
    export(again, patch_of(again, "b16.conv1", 1), second, model=first)
    about = files.read_header(second)[1]
    assert about["family"] == "StyleGAN2 of rosinality's port"
    assert [edit["base"] for edit in about["edits"]] == [generator.fingerprint, again.fingerprint]
    assert [json.loads(edit["rules"][0])["name"] for edit in about["edits"]] == ["rule 0", "rule 1"]
    assert [edit["strengths"] for edit in about["edits"]] == [[0.5], [1.0]]
    with patch_of(again, "b16.conv1", 1).applied(again):
        assert load_generator(second).fingerprint == again.fingerprint


def test_strengths_are_folded_in(files, tmp_path):
    generator = load_generator(files["model"])
    patches = [patch_of(generator, LAYER, 0), patch_of(generator, LAYER, 1)]
    export(generator, patches, tmp_path / "edited.safetensors", model=files["model"], strengths=[0.5, -2.0])
    with Stack(generator).holding(list(zip(patches, [0.5, -2.0]))):
        expected = generator.fingerprint
    assert load_generator(tmp_path / "edited.safetensors").fingerprint == expected
    with pytest.raises(ValueError, match="got 2 patches and 1 strengths"):
        export(generator, patches, tmp_path / "no.safetensors", model=files["model"], strengths=[1.0])


def test_the_same_export_gives_the_same_bytes(rosinality, tmp_path):
    for name in ("a", "b"):
        edited(rosinality, tmp_path / f"{name}.safetensors", LAYER, "safetensors")
        edited(rosinality, tmp_path / f"{name}.pt", LAYER, "state-dict")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize(
    ("container", "name", "message"),
    [
        ("same", "edited.safetensors", r"file of torch\.save, as model\.pt is, whose name ends in \.pt .* --as"),
        ("same", "edited.pkl", r"not in \.pkl: .* --as"),
        ("safetensors", "edited.pt", r"would be a safetensors file, whose name ends in \.safetensors and not in \.pt"),
        ("state-dict", "edited.safetensors", r"whose name ends in \.pt and not in \.safetensors"),
        ("tar", "edited.tar", "the container is one of same, safetensors, state-dict, got 'tar'"),
    ],
)
def test_an_ending_that_belongs_to_another_container_is_refused(rosinality, tmp_path, container, name, message):
    generator = load_generator(rosinality)
    with pytest.raises(ValueError, match=message):
        export(generator, patch_of(generator, LAYER), tmp_path / name, model=rosinality, container=container)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("container", ["same", "safetensors", "state-dict"])
def test_a_path_that_cannot_be_written_is_refused(rosinality, tmp_path, container):
    generator = load_generator(rosinality)
    with pytest.raises(ValueError, match="cannot write"):
        export(generator, patch_of(generator, LAYER), rosinality / "edited", model=rosinality, container=container)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("noise", ["other", 7, None, ["seed"]])
def test_a_header_with_another_kind_of_noise_is_refused(tmp_path, noise):
    native.save_stylegan2(tmp_path / "model.safetensors", random_stylegan2().state_dict(), CONFIG, {}, noise=noise)
    with pytest.raises(ValueError, match="draws noise in a way that is not known here"):
        load_generator(tmp_path / "model.safetensors")


def test_a_header_of_a_length_like_a_pickles_first_byte_is_no_pickle(tmp_path):
    """One native file in 32 begins with 0x80, as pickles do."""
    path = tmp_path / "m.safetensors"
    native.save_stylegan2(path, random_stylegan2().state_dict(), CONFIG, {})
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    wanted = length + (0x80 - length) % 256
    padded = wanted.to_bytes(8, "little") + content[8 : 8 + length] + b" " * (wanted - length) + content[8 + length :]
    path.write_bytes(padded)
    assert path.read_bytes()[0] == 0x80
    assert load_generator(path).fingerprint


def test_the_command_writes_each_container(rosinality, tmp_path, answer, refusal):
    generator, patch = load_generator(rosinality), tmp_path / "patch.safetensors"
    patch_of(generator, LAYER).save(patch)
    for container, name in (("container", "a.pt"), ("safetensors", "b.safetensors"), ("state-dict", "c.pth")):
        out = tmp_path / name
        answer("export", rosinality, patch, "--as", container, "--strength", "0.5", "--out", out)
        with patch_of(generator, LAYER).applied(generator, 0.5):
            assert load_generator(out).fingerprint == generator.fingerprint
        assert answer("inspect", out)["family"] == "StyleGAN2 of rosinality's port"
    said = refusal("export", rosinality, patch, "--out", tmp_path / "d.safetensors")
    assert "--as" in said
    assert not (tmp_path / "d.safetensors").exists()
