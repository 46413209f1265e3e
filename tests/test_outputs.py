"""A command destroys nothing that it reads, and no checkpoint that it was not told to overwrite."""

import json
from argparse import _SubParsersAction
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from apps import outputs
from apps.cli import build_parser, main
from apps.parsers.parser import new_file, new_folder, new_place
from rewrite import Patch, load_generator, to_peft
from rewrite.generators.fingerprint import hash_of
from tests.foreign_files import write_rosinality
from tests.networks import PlainGenerator, patch_of

LAYER = "b16.conv1"

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def mine(files, tmp_path) -> dict[str, Path]:
    """Copies of a model, a rule, a memory and a patch that a test may endanger, and strokes."""
    made = {name: tmp_path / path.name for name, path in files.items()}
    for name, path in made.items():
        path.write_bytes(files[name].read_bytes())
    painting = {"schema": "rewrite-painting/1", "model": "0" * 16, "layer": LAYER, "seed": 1}
    made["strokes"] = tmp_path / "strokes.json"
    made["strokes"].write_text(json.dumps(painting))
    return made


CLASHES = {
    "solve over its rule": ["solve", "{rule}", "--model", "{model}", "--out", "{rule}"],
    "solve over its memory": ["solve", "{rule}", "--model", "{model}", "--memory", "{memory}", "--out", "{memory}"],
    "solve over its model": ["solve", "{rule}", "--model", "{model}", "--out", "{model}"],
    "measure": ["measure", "{model}", "--layer", LAYER, "--out", "{model}"],
    "sample over its model": ["sample", "{model}", "--out", "{model}"],
    "sample over its patch": ["sample", "{model}", "--patch", "{patch}", "--out", "{patch}"],
    "sample over the rule that fires": ["sample", "{model}", "--heat", "{rule}", "--out", "{rule}"],
    "export over its model": ["export", "{model}", "{patch}", "--out", "{model}"],
    "export over its patch": ["export", "{model}", "{patch}", "--out", "{patch}"],
    "export's card over its model": ["export", "{model}", "{patch}", "--out", "new", "--card", "{model}"],
    "ablate": ["ablate", "{model}", "--layer", LAYER, "--units", "1", "--out", "{model}"],
    "paint": ["paint", "{strokes}", "--model", "{model}", "--out", "{strokes}"],
    "rule": ["rule", "{model}", "--context", "tree", "--out", "{model}"],
    "propose": ["propose", "{rule}", "--model", "{model}", "--accept", "1", "--out", "{folder}"],
    "artifacts": ["artifacts", "{patch}", "--layer", LAYER, "--out", "{folder}"],
    "report": ["report", "{patch}", "--model", "{page}", "--out", "{folder}"],
    "units": ["units", "{state}", "--layer", LAYER, "--out", "{folder}"],
    "rotation": ["rotation", "{state}", "--layer", LAYER, "--out", "{folder}"],
    "effects": ["effects", "{state}", "--layer", LAYER, "--concepts", "tree", "--out", "{folder}"],
    "omissions": ["omissions", "{state}", "--out", "{folder}"],
}


@pytest.mark.parametrize("linked", ["", "link", "second name"])
@pytest.mark.parametrize("clash", CLASHES)
def test_an_output_that_is_an_input_is_refused_before_any_work(mine, tmp_path, monkeypatch, refusal, clash, linked):
    monkeypatch.setattr("rewrite.checkpoints.loading.load_generator", None)
    command = CLASHES[clash][0]
    states = {"omissions": "training.safetensors"}
    mine["state"] = mine["model"].rename(tmp_path / states.get(command, f"{command}.safetensors"))
    mine["model"] = mine["state"]
    mine["page"] = tmp_path / "report.html"
    mine["page"].write_text("a model, perhaps")
    before = {path: path.read_bytes() for path in mine.values()}
    named = {"folder": tmp_path, **mine}
    arguments = [each.format(**named) for each in CLASHES[clash]]
    if linked:
        out = Path(arguments[-1])
        for path in [out] if out.is_file() else mine.values():
            other = tmp_path / "elsewhere" / path.name
            other.parent.mkdir(exist_ok=True)
            if not other.exists():
                other.symlink_to(path) if linked == "link" else other.hardlink_to(path)
        arguments[-1] = str(tmp_path / "elsewhere" / ("" if out.is_dir() else out.name))
    said = refusal(*arguments, "--force")
    assert "would overwrite" in said
    assert {path: path.read_bytes() for path in mine.values()} == before


def test_a_card_and_a_checkpoint_are_two_files(mine, tmp_path, refusal):
    out = tmp_path / "edited.safetensors"
    said = refusal("export", mine["model"], mine["patch"], "--out", out, "--card", tmp_path / "x" / ".." / out.name)
    assert "--out and --card name the same file" in said
    assert not out.exists()


def test_an_adapter_that_is_read_is_not_written_over(tmp_path, refusal):
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text("an adapter")
    said = refusal("export", "towers", folder, "--as", "peft", "--out", folder)
    assert "would overwrite" in said
    assert (folder / "adapter_config.json").read_text() == "an adapter"


def test_overwriting_a_checkpoint_asks_for_force(mine, tmp_path, scaled, refusal, answer):
    other = write_rosinality(tmp_path / "other.pt", scaled)
    kept = other.read_bytes()
    drawing = ["sample", mine["model"], "--seeds", "0", "--out", tmp_path / "a.png"]
    other.rename(tmp_path / "a.png")
    assert refusal(*drawing) == f"rewrite: {tmp_path / 'a.png'} is a checkpoint: --force overwrites it"
    assert (tmp_path / "a.png").read_bytes() == kept
    answer(*drawing, "--force")
    answer(*drawing)
    exporting = ["export", mine["model"], mine["patch"], "--out", tmp_path / "edited.safetensors"]
    answer(*exporting)
    assert "is a checkpoint" in refusal(*exporting)
    answer(*exporting, "--force")


def test_overwriting_anything_else_asks_for_nothing(mine, tmp_path, answer):
    measuring = ["measure", mine["model"], "--layer", LAYER, "--samples", "5"]
    for path in (mine["memory"], mine["patch"], mine["rule"]):
        answer(*measuring, "--out", path)


def test_every_option_that_names_a_file_is_known_to_be_read_or_written():
    commands = next(each for each in build_parser()._actions if isinstance(each, _SubParsersAction))
    for name, parser in commands.choices.items():
        for action in parser._actions:
            if action.type in (Path, new_file, new_folder, new_place) or action.metavar in (
                "FILE",
                "MODEL",
                "PATCH",
                "RULE",
                "DIR",
            ):
                assert action.dest in (*outputs.READ, *outputs.WRITTEN), f"{name} {action.dest}"


@pytest.mark.parametrize("container", ["container", "safetensors", "state-dict"])
@pytest.mark.parametrize("half", [True, False], ids=["float16", "float32"])
def test_an_export_whose_numbers_would_not_be_finite_is_refused_and_leaves_what_was_there(
    tmp_path, scaled, refusal, container, half
):
    model = write_rosinality(tmp_path / "model.pt", scaled)
    if half:
        content = torch.load(model, weights_only=True)
        content["g_ema"] = {name: tensor.half() for name, tensor in content["g_ema"].items()}
        torch.save(content, model)
    generator = load_generator(model)
    layer = generator.layer(LAYER)
    huge = 1e6 if half else 3e38
    patch = Patch(
        layer=LAYER,
        left=torch.full((layer.outputs, 1), huge),
        right=torch.full((1, layer.width), 10.0 if half else 1e30),
        base=hash_of({"weight": generator.weight(LAYER)}),
        model=generator.fingerprint,
    )
    patch.save(tmp_path / "patch.safetensors")
    out = tmp_path / ("edited.safetensors" if container == "safetensors" else "edited.pt")
    out.write_bytes(b"what was there")
    said = refusal("export", model, tmp_path / "patch.safetensors", "--as", container, "--out", out)
    assert "nothing is written" in said
    assert out.read_bytes() == b"what was there"


def test_an_adapter_whose_numbers_would_not_be_finite_is_refused(tmp_path):
    generator = PlainGenerator()
    patch = patch_of(generator, next(iter(generator.layers)))
    with pytest.raises(ValueError, match=r"nothing is written: .* not finite as float32"):
        to_peft(generator, replace(patch, left=100 * patch.left), tmp_path / "adapter", strengths=[3e38])
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("command", ["measure", "sample"])
def test_folders_that_are_missing_are_made_whichever_command_it_is(files, tmp_path, command):
    more = {"measure": ["--layer", "b16.conv1", "--samples", "10"], "sample": ["--seeds", "0"]}[command]
    out = tmp_path / "missing" / command / "out.png"
    assert main([command, str(files["model"]), *more, "--out", str(out)]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["out.png"]
