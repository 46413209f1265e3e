"""Checkpoints are read safely, and written back with nothing changed but the edit."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rewrite.checkpoints import native
from rewrite.checkpoints.loading import export, load_generator
from rewrite.generators.fingerprint import hash_of
from rewrite.patch import Stack
from rewrite.storage import files
from tests.networks import CONFIG, patch_of, random_stylegan2
from tests.peak import Peak


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    path = tmp_path / "model.safetensors"
    native.save_stylegan2(path, random_stylegan2().state_dict(), CONFIG, {"seed": 0, "images": 12})
    return path


def test_a_saved_generator_draws_the_same_images_again(tiny_generator, checkpoint):
    loaded = load_generator(checkpoint)
    assert loaded.fingerprint == tiny_generator.fingerprint
    assert torch.equal(loaded.sample(range(3)), tiny_generator.sample(range(3)))


def test_the_file_says_how_the_generator_was_built_and_trained(checkpoint):
    kind, about = files.read_header(checkpoint)
    assert (kind, about["family"], about["training"]) == ("generator", "stylegan2", {"seed": 0, "images": 12})


def test_truncation_is_set_on_loading_and_its_range_is_held(checkpoint):
    assert load_generator(checkpoint, truncation=0.7).truncation == 0.7
    for wrong in (-0.1, 2.1, float("nan")):
        with pytest.raises(ValueError, match=f"truncation lies between 0 and 2, got {wrong}"):
            load_generator(checkpoint, truncation=wrong)


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.pt, .*there is towers"):
        load_generator(tmp_path / "none.pt")


def written(path: Path, state: dict | None = None, **about) -> Path:
    """A checkpoint whose tensors or header are not what they should be."""
    state = dict(random_stylegan2().state_dict()) if state is None else state
    files.save_tensors(path, state, "generator", {"family": "stylegan2", "config": CONFIG, "training": {}, **about})
    return path


def refused(path: Path) -> str:
    with pytest.raises(ValueError, match=path.name) as caught:
        load_generator(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        None,
        [],
        {},
        7,
        CONFIG | {"channels": {}},
        CONFIG | {"channels": [4, 8]},
        CONFIG | {"channels": {"four": 6}},
        CONFIG | {"channels": {4: 10**9}},
        CONFIG | {"channels": {4: 0}},
        CONFIG | {"channels": {4: 6, 8: -1}},
        CONFIG | {"channels": {4: 6, 16: 5}},
        CONFIG | {"channels": {8: 6, 16: 5}},
        CONFIG | {"channels": {4 * 2**i: 1 for i in range(12)}},
        CONFIG | {"channels": {4: float("inf")}},
        CONFIG | {"z_dim": 10**9},
        CONFIG | {"z_dim": 10**400},
        CONFIG | {"z_dim": float("nan")},
        CONFIG | {"w_dim": float("inf")},
        CONFIG | {"w_dim": None},
        CONFIG | {"mapping_layers": 0},
        CONFIG | {"mapping_layers": 10**6},
        {"channels": CONFIG["channels"]},
    ],
    ids=lambda config: str(config)[:60],
)
def test_sizes_that_no_generator_has_are_refused(tmp_path, config):
    path = written(tmp_path / "model.safetensors", config=config)
    refused(path)


def test_a_small_file_cannot_ask_for_a_large_network(tmp_path):
    """Every size is within its range, but together they are 17 GB."""
    large = {"z_dim": 4096, "w_dim": 4096, "mapping_layers": 32, "channels": {4 * 2**i: 4096 for i in range(11)}}
    path, peak = written(tmp_path / "model.safetensors", config=large), Peak()
    peak.start()
    assert "does not hold what its header says" in refused(path)
    assert peak.bytes() < 2**27


@pytest.mark.parametrize(
    "config",
    [
        CONFIG | {"z_dim": 9},
        CONFIG | {"w_dim": 4096},
        CONFIG | {"mapping_layers": 3},
        CONFIG | {"channels": {4: 6, 8: 4096, 16: 4}},
        CONFIG | {"channels": CONFIG["channels"] | {32: 4}},
    ],
    ids=str,
)
def test_one_size_larger_than_the_file_is_refused(tmp_path, config):
    path = written(tmp_path / "model.safetensors", config=config)
    assert "does not hold what its header says" in refused(path)


def test_a_file_that_holds_more_than_its_header_says_is_refused(tmp_path):
    assert "synthesis.b16" in refused(
        written(tmp_path / "model.safetensors", config=CONFIG | {"channels": {4: 6, 8: 5}})
    )


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mapping.fc1.weight", lambda tensor: tensor[:-1], r"mapping\.fc1\.weight is \(7, 8\), not \(8, 8\)"),
        ("mapping.fc1.weight", lambda tensor: None, r"mapping\.fc1\.weight is missing, not \(8, 8\)"),
        ("mapping.w_avg", lambda tensor: tensor[:-1], r"header says: .*mapping\.w_avg"),
        ("mapping.w_avg", lambda tensor: None, r"header says: .*mapping\.w_avg"),
        ("mapping.extra", lambda tensor: torch.zeros(2), r"header says: .*mapping\.extra"),
        ("mapping.w_avg", lambda tensor: tensor.long(), r"holds mapping\.w_avg as torch\.int64"),
        ("mapping.w_avg", lambda tensor: tensor.to(torch.complex64), r"holds mapping\.w_avg as torch\.complex64"),
        ("mapping.w_avg", lambda tensor: tensor.to(torch.float8_e4m3fn), r"holds mapping\.w_avg as torch\.float8"),
        ("mapping.w_avg", lambda tensor: tensor * float("nan"), r"not finite, first in mapping\.w_avg"),
        ("mapping.w_avg", lambda tensor: tensor / 0, r"not finite, first in mapping\.w_avg"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, name, change, message):
    state = dict(random_stylegan2().state_dict())
    state[name] = change(state.get(name))
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    path = written(tmp_path / "model.safetensors", state)
    refused(path)
    with pytest.raises(ValueError, match=message):
        load_generator(path)


def test_other_families_kinds_and_cut_files_are_refused(checkpoint):
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:-5])
    assert "cut short" in refused(checkpoint)
    assert "family 'gan9'" in refused(written(checkpoint, family="gan9"))
    files.save_tensors(checkpoint, {"left": torch.zeros(1)}, "patch", {})
    assert "holds a patch, not a generator" in refused(checkpoint)


def stored(path: Path) -> dict[str, torch.Tensor]:
    return files.load_tensors(path, "generator")[0]


@pytest.mark.parametrize("layer", ["b4.torgb", "b8.conv0", "b16.conv1"])
def test_an_exported_edit_draws_what_the_patched_generator_drew(checkpoint, tmp_path, layer):
    generator, out = load_generator(checkpoint), tmp_path / "edited.safetensors"
    patch, before = patch_of(generator, layer), hash_of(generator.module.state_dict())
    with patch.applied(generator):
        expected, fingerprint = generator.sample(range(3)), generator.fingerprint
    export(generator, patch, out, model=checkpoint)
    edited = load_generator(out)
    assert edited.fingerprint == fingerprint
    assert torch.equal(edited.sample(range(3)), expected)
    assert hash_of(generator.module.state_dict()) == before
    first, last, changed = stored(checkpoint), stored(out), generator.layer(layer).weight
    assert list(first) == list(last)
    assert [name for name in first if not torch.equal(first[name], last[name])] == [changed]


def test_an_export_is_of_the_file_that_the_generator_was_loaded_from(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(checkpoint.parent)
    generator = load_generator(checkpoint.name)
    monkeypatch.chdir(tmp_path.parent)
    export(generator, patch_of(generator, "b8.conv1"), tmp_path / "edited.safetensors")
    assert stored(tmp_path / "edited.safetensors").keys() == stored(checkpoint).keys()
    generator.checkpoint = None
    with pytest.raises(ValueError, match="not loaded from a checkpoint"):
        export(generator, patch_of(generator, "b8.conv1"), tmp_path / "no.safetensors")


def test_several_patches_are_folded_in_and_the_file_tells_their_story(checkpoint, tmp_path):
    generator, out = load_generator(checkpoint), tmp_path / "edited.safetensors"
    patches = [patch_of(generator, layer, seed) for seed, layer in enumerate(["b8.conv1", "b8.conv1", "b16.torgb"])]
    with Stack(generator).holding([(patch, 1.0) for patch in patches]):
        fingerprint = generator.fingerprint
    export(generator, patches, out, model=checkpoint)
    edited = load_generator(out)
    assert edited.fingerprint == fingerprint
    again = tmp_path / "again.safetensors"
    export(edited, patch_of(edited, "b4.conv1", 7), again, model=out)
    history = files.read_header(again)[1]["edits"]
    assert [[json.loads(rule)["name"] for rule in edit["rules"]] for edit in history] == [
        ["rule 0", "rule 1", "rule 2"],
        ["rule 7"],
    ]
    assert history[0]["layers"] == ["synthesis.b16.torgb.weight", "synthesis.b8.conv1.weight"]
    assert files.read_header(again)[1]["training"] == {"seed": 0, "images": 12}


def test_an_export_may_replace_the_checkpoint_that_it_reads(checkpoint):
    generator = load_generator(checkpoint)
    patch = patch_of(generator, "b8.conv1")
    with patch.applied(generator):
        fingerprint = generator.fingerprint
    export(generator, patch, checkpoint, model=checkpoint)
    assert load_generator(checkpoint).fingerprint == fingerprint


def test_only_the_checkpoint_of_the_generator_is_exported(checkpoint, tmp_path):
    """Otherwise the edit of one model would land among the weights of another."""
    other = tmp_path / "other.safetensors"
    native.save_stylegan2(other, random_stylegan2(seed=5).state_dict(), CONFIG, {})
    generator, out = load_generator(checkpoint), tmp_path / "out.safetensors"
    with pytest.raises(ValueError, match=r"other\.safetensors is not the checkpoint that this generator was loaded"):
        export(generator, patch_of(generator, "b8.conv1"), out, model=other)
    patch = patch_of(generator, "b8.conv1")
    generator.weight("b16.conv1").mul_(2.0)
    with pytest.raises(ValueError, match="or its weights were edited"):
        export(generator, patch, out, model=checkpoint)
    assert not out.exists()


def test_a_patch_of_another_weight_is_not_exported(checkpoint, tmp_path):
    generator, out = load_generator(checkpoint), tmp_path / "out.safetensors"
    with pytest.raises(ValueError, match="this patch was made for weight"):
        export(generator, replace(patch_of(generator, "b8.conv1"), base="0" * 16), out, model=checkpoint)
    assert not out.exists()


def test_a_damaged_history_or_a_closed_folder_stops_the_export(checkpoint, tmp_path):
    generator = load_generator(checkpoint)
    patch = patch_of(generator, "b8.conv1")
    with pytest.raises(ValueError, match="cannot write"):
        export(generator, patch, checkpoint / "out.safetensors", model=checkpoint)
    written(checkpoint, edits=5)
    with pytest.raises(ValueError, match="its history of edits is not a list"):
        export(generator, patch, tmp_path / "out.safetensors", model=checkpoint)
