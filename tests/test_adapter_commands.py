"""The commands write adapters, and take their folders as patches."""

from dataclasses import replace

import pytest
import torch

from rewrite import from_peft, load_generator, to_peft
from tests.foreign_files import proggan_state
from tests.networks import patch_of
from tests.test_adapters import CONFIG, WEIGHTS


def test_a_progressive_gan_of_a_file_becomes_an_adapter_by_the_command(tmp_path, answer):
    torch.save(proggan_state(), tmp_path / "model.pth")
    generator = load_generator(tmp_path / "model.pth")
    patch = patch_of(generator, "layer4.conv")
    patch.save(tmp_path / "patch.safetensors")
    arguments = ["--as", "peft", "--strength", "0.5", "--out", tmp_path / "adapter"]
    said = answer("export", tmp_path / "model.pth", tmp_path / "patch.safetensors", *arguments)
    assert said["layers"] == ["layer4.conv"]
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [CONFIG, WEIGHTS]
    (found,) = from_peft(generator, tmp_path / "adapter")
    assert torch.equal(found.left, patch.left / 2)
    assert found.forecast == {}


@pytest.fixture
def progressive(tmp_path):
    """A ProgressiveGAN's file, a patch of it, and an adapter that says the same."""
    torch.save(proggan_state(), tmp_path / "model.pth")
    generator = load_generator(tmp_path / "model.pth")
    patches = [replace(patch_of(generator, f"layer{4 + seed}.conv", seed), rules=()) for seed in (0, 1)]
    to_peft(generator, patches, tmp_path / "adapter")
    for number, patch in enumerate(patches):
        patch.save(tmp_path / f"patch{number}.safetensors")
    return tmp_path / "model.pth"


def test_the_commands_take_an_adapters_folder_as_a_patch(progressive, tmp_path, answer):
    files = [progressive.with_name(f"patch{number}.safetensors") for number in (0, 1)]
    for name, patches in (("folder", [tmp_path / "adapter"]), ("files", files)):
        options = [part for patch in patches for part in ("--patch", patch)]
        answer(
            "sample", progressive, *options, "--seeds", "0-1", "--strength", "0.5", "--out", tmp_path / f"{name}.png"
        )
        answer("export", progressive, *patches, "--strength", "0.5", "--out", tmp_path / f"{name}.pth")
        told = answer(
            "report", *patches, "--model", progressive, "--seeds", "5-6", "--out", tmp_path / f"{name}.report"
        )
        assert [each["layer"] for each in told["patches"]] == ["layer4.conv", "layer5.conv"]
    for ending in ("png", "pth"):
        assert (tmp_path / f"folder.{ending}").read_bytes() == (tmp_path / f"files.{ending}").read_bytes()
    assert (tmp_path / "folder.pth").read_bytes() != progressive.read_bytes()


def test_an_adapters_folder_that_does_not_fit_is_refused_in_a_sentence(progressive, tmp_path, files, refusal):
    (tmp_path / "empty").mkdir()
    for model, folder, message in (
        (progressive, tmp_path / "empty", "there is no adapter"),
        (progressive, tmp_path / "nothing", "there is no file"),
        (files["model"], tmp_path / "adapter", "no editable layer at 'layer4.conv', which the adapter changes"),
    ):
        for command in (
            ["sample", model, "--patch", folder],
            ["export", model, folder],
            ["report", folder, "--model", model],
        ):
            assert message in refusal(*command, "--out", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()
