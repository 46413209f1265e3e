"""How the program fails: one clear sentence, exit status 2, and nothing half-written."""

import errno
import json
import os
import resource
from pathlib import Path

import pytest

from apps.cli import main
from rewrite import load_generator, measure
from rewrite.checkpoints import native
from tests.networks import CONFIG, marked_rule

LAYER = "b16.conv1"

pytestmark = pytest.mark.usefixtures("cache")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_that_is_no_checkpoint(tmp_path, refusal):
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").touch()
    assert "is not a file that this library knows" in refusal(
        "sample", tmp_path / "text.pt", "--out", tmp_path / "a.png"
    )
    assert "is not a file that this library knows" in refusal("inspect", tmp_path / "text.pt")
    assert "is empty" in refusal("inspect", tmp_path / "empty.pt")
    assert "is a folder" in refusal("inspect", tmp_path)


@pytest.mark.parametrize("kept", [5, 100, 0.5, -1])
def test_a_checkpoint_that_is_cut_short(files, tmp_path, kept, refusal):
    content = files["model"].read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: int(kept * len(content)) if kept == 0.5 else kept])
    for command in (
        ["inspect", tmp_path / "cut.safetensors"],
        ["export", tmp_path / "cut.safetensors", files["patch"]],
    ):
        more = ["--out", tmp_path / "out.safetensors"] if command[0] == "export" else []
        assert "cut.safetensors" in refusal(*command, *more)
    assert names_in(tmp_path) == ["cut.safetensors"]


def test_weights_that_are_not_numbers(files, tmp_path, refusal):
    state = load_generator(files["model"]).module.state_dict()
    state["synthesis.b8.conv1.weight"][0, 0, 0, 0] = float("nan")
    native.save_stylegan2(tmp_path / "nan.safetensors", state, CONFIG, {})
    said = refusal("sample", tmp_path / "nan.safetensors", "--out", tmp_path / "a.png")
    assert "not finite, first in synthesis.b8.conv1.weight" in said
    assert "not finite" in refusal("inspect", tmp_path / "nan.safetensors")


def test_an_unknown_layer(files, tmp_path, refusal):
    said = refusal("measure", files["model"], "--layer", "b16.conv", "--out", tmp_path / "m.safetensors")
    assert "did you mean b16.conv1?" in said
    marked_rule(files["model"], layer="b32.conv1").save(tmp_path / "rule.json")
    assert "no layer 'b32.conv1'" in refusal("solve", tmp_path / "rule.json", "--model", files["model"])


@pytest.mark.parametrize("side", [24, 17])
def test_a_mask_of_a_wrong_size(files, tmp_path, side, refusal):
    marked_rule(files["model"], side=side).save(tmp_path / "rule.json")
    said = refusal(*solving(files, tmp_path))
    assert f"the image is 16 x 16 pixels, but a mask of {side} x {side} was given" in said
    assert names_in(tmp_path) == ["rule.json"]


def test_an_empty_mask(files, tmp_path, refusal):
    document = json.loads(marked_rule(files["model"]).to_json())
    document["context"][0]["mask"]["runs"] = []
    (tmp_path / "rule.json").write_text(json.dumps(document))
    assert "at least one pixel" in refusal(*solving(files, tmp_path))


def test_a_rule_for_another_model(files, tmp_path, refusal):
    marked_rule(files["model"], model="0123456789abcdef").save(tmp_path / "rule.json")
    assert "written on model 0123456789abcdef" in refusal(*solving(files, tmp_path))


@pytest.mark.parametrize("rank", [0, -3, 5, 10_000])
def test_a_rank_out_of_range(files, tmp_path, rank, refusal):
    marked_rule(files["model"]).save(tmp_path / "rule.json")
    assert "rank must" in refusal(*solving(files, tmp_path), "--rank", rank)
    assert names_in(tmp_path) == ["rule.json"]


def test_a_memory_of_another_layer(files, tmp_path, refusal):
    measure(load_generator(files["model"]), "b8.conv1", 5).save(tmp_path / "memory.safetensors")
    marked_rule(files["model"]).save(tmp_path / "rule.json")
    said = refusal(*solving(files, tmp_path, memory=tmp_path / "memory.safetensors"))
    assert "measured on layer b8.conv1, not on layer b16.conv1" in said


def solving(files: dict[str, Path], folder: Path, memory: Path | None = None) -> list:
    given = ["--model", files["model"], "--memory", memory or files["memory"]]
    return ["solve", folder / "rule.json", *given, "--out", folder / "patch.safetensors"]


def test_files_that_are_taken_for_one_another(files, tmp_path, refusal):
    out = ["--out", tmp_path / "out.png"]
    assert "holds a memory, not a patch" in refusal("sample", files["model"], "--patch", files["memory"], *out)
    assert "holds a patch, not a generator" in refusal("sample", files["patch"], *out)
    assert "is not a valid rule" in refusal("solve", files["model"], "--model", files["model"])


def test_a_patch_for_another_weight(files, tmp_path, refusal, answer):
    edited = tmp_path / "edited.safetensors"
    answer("export", files["model"], files["patch"], "--out", edited)
    said = refusal("export", edited, files["patch"], "--out", tmp_path / "twice.safetensors")
    assert "this patch was made for weight" in said
    assert names_in(tmp_path) == ["edited.safetensors"]


@pytest.mark.parametrize("command", ["sample", "measure", "solve", "report", "export"])
def test_a_folder_that_cannot_be_written_to(files, tmp_path, command, refusal):
    (tmp_path / "file").write_text("in the way")
    said = refusal(*writing(command, files, tmp_path / "file" / "out.png"))
    assert "cannot write" in said
    assert (tmp_path / "file").read_text() == "in the way"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["measure", "--layer", LAYER, "--samples", "1000000000", "--out", "folder"],
        ["measure", "--layer", LAYER, "--samples", "1000000000", "--out", "file/memory.safetensors"],
        ["report", "patch.safetensors", "--seeds", "0-99999", "--out", "file"],
        ["units", "--layer", "all", "--samples", "1000000000", "--out", "file/units"],
    ],
)
def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(tmp_path, monkeypatch, arguments, refusal):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("in the way")
    assert f"cannot write {arguments[-1]}: " in refusal(*arguments)
    assert names_in(tmp_path) == ["file", "folder"]


def test_what_is_no_file_at_all_is_not_waited_for(tmp_path, refusal):
    os.mkfifo(tmp_path / "pipe")
    for arguments in (["inspect", tmp_path / "pipe"], ["sample", tmp_path / "pipe", "--out", tmp_path / "a.png"]):
        assert f"{tmp_path / 'pipe'} is not a file" in refusal(*arguments)


def test_options_for_patches_without_a_patch(tmp_path, refusal):
    assert "name one with --patch" in refusal("sample", "--compare", "--out", tmp_path / "a.png")


def test_more_strengths_than_patches(files, tmp_path, refusal):
    strengths = ["--strength", "1", "--strength", "2"]
    said = refusal("sample", files["model"], "--patch", files["patch"], *strengths, "--out", tmp_path / "a.png")
    assert "--strength is given once" in said


def writing(command: str, files: dict[str, Path], out: Path) -> list:
    """Arguments with which a command writes to `out`."""
    model = ["--model", files["model"]]
    return {
        "sample": ["sample", files["model"], "--seeds", "0", "--out", out],
        "measure": ["measure", files["model"], "--layer", LAYER, "--samples", "5", "--out", out],
        "solve": ["solve", files["rule"], *model, "--memory", files["memory"], "--out", out],
        "report": ["report", files["patch"], *model, "--seeds", "5", "--out", out],
        "export": ["export", files["model"], files["patch"], "--out", out],
    }[command]


@pytest.mark.parametrize("command", ["sample", "measure", "solve", "report", "export"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(files, tmp_path, command, refusal):
    out = tmp_path / "out.png"
    if command == "report":
        out.mkdir()
        (out / "report.json").write_text("old")
    else:
        out.write_text("old")
    before = names_in(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        said = refusal(*writing(command, files, out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot write" in said
    assert names_in(tmp_path) == before
    assert (out / "report.json" if command == "report" else out).read_text() == "old"


def test_a_report_whose_second_file_does_not_fit_is_not_written_at_all(files, tmp_path, monkeypatch, refusal):
    write, count = Path.write_bytes, []

    def fills_up(path, content):
        count.append(path)
        if len(count) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fills_up)
    said = refusal(*writing("report", files, tmp_path / "report"))
    assert said == f"rewrite: cannot write into {tmp_path / 'report'}: No space left on device"
    # What was compared is kept: the same command goes on from there where there is room again.
    assert names_in(tmp_path) == ["report", "unfinished.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smaple"], "did you mean sample?"),
        (["--wrong"], "the following arguments are required: COMMAND"),
        (["sample"], "required: --out"),
        (["sample", "--out", "a.png", "--sedes", "3"], "unrecognized arguments: --sedes"),
        (["sample", "--out", "a.png", "--seeds", "5-3"], "a range of seeds goes up"),
        (["sample", "--out", "a.png", "--seeds", "x"], "seeds are numbers and ranges"),
        (["sample", "nothing.pt", "--out", "a.png"], "there is no file nothing.pt"),
        (["sample", "--out", "a.png", "--noise", "loud"], "invalid choice: 'loud'"),
        (["sample", "--out", "a.png", "--strength", "1", "--strength", "2"], "name one with --patch"),
        (["solve", "nothing.json"], "there is no file nothing.json"),
        (["report", "nothing.safetensors", "--out", "r"], "there is no file nothing.safetensors"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message, tmp_path, monkeypatch, refusal):
    monkeypatch.chdir(tmp_path)
    assert message in refusal(*arguments)
    assert names_in(tmp_path) == []


def test_a_name_that_is_nearly_that_of_a_file(files, refusal):
    wrong = files["model"].with_name("modell.safetensors")
    assert "did you mean model.safetensors?" in refusal("inspect", wrong)


@pytest.mark.parametrize(
    ("given", "message"),
    [("--truncation=3", "truncation lies between 0 and 2"), ("--columns=0", "at least one column")],
)
def test_numbers_out_of_range(files, tmp_path, given, message, refusal):
    assert message in refusal("sample", files["model"], given, "--out", tmp_path / "a.png")
    said = refusal("measure", files["model"], "--layer", LAYER, "--samples", "0", "--out", tmp_path / "m")
    assert "samples must be at least 1" in said


def test_a_report_on_weights_that_are_no_trunk(files, tmp_path, refusal):
    (tmp_path / "trunk.pth").write_text("no")
    arguments = writing("report", files, tmp_path / "report")
    assert "trunk.pth cannot be read" in refusal(*arguments, "--lpips", tmp_path / "trunk.pth")


def test_bugs_are_not_hidden(files, monkeypatch, tmp_path):
    monkeypatch.setenv("REWRITE_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError):
        main(["inspect", str(tmp_path / "nothing")])
