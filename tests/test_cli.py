"""The program: what each command writes and says, and how it fails."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from apps.cli import COMMANDS, main
from apps.memories import cached_path, memory_of
from apps.seeds import parse_seeds
from rewrite import Latent, Mask, Memory, Patch, Region, Rule, load_generator, measure
from rewrite.checkpoints import loading, native
from rewrite.generators.stylegan2 import StyleGAN2

CONFIG = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channels": {4: 6, 8: 5, 16: 4}}
LAYER = "b16.conv1"
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("REWRITE_CACHE", str(folder))
    monkeypatch.delenv("REWRITE_TRACEBACK", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder / "hub"))
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """A model, a rule, a memory and a patch of it, written by the program itself."""
    folder = tmp_path_factory.mktemp("files")
    os.environ["REWRITE_CACHE"] = str(folder / "cache")
    torch.manual_seed(0)
    native.save_stylegan2(folder / "model.safetensors", StyleGAN2(**CONFIG).state_dict(), CONFIG, {"seed": 0})
    rule_of(folder / "model.safetensors").save(folder / "rule.json")
    names = ("model.safetensors", "rule.json", "memory.safetensors", "patch.safetensors")
    found = {name.partition(".")[0]: folder / name for name in names}
    model, memory = str(found["model"]), str(found["memory"])
    assert main(["measure", model, "--layer", LAYER, "--samples", "30", "--out", memory]) == 0
    solved = ["solve", str(found["rule"]), "--model", model, "--memory", memory, "--rank", "3"]
    assert main([*solved, "--out", str(found["patch"])]) == 0
    return found


def rule_of(model: Path, **changes) -> Rule:
    mask, side = np.zeros((16, 16), dtype=bool), changes.pop("side", 16)
    mask[4:8, 4:8] = True
    mask = mask if side == 16 else np.ones((side, side), dtype=bool)
    regions = tuple(Region(Latent(seed), Mask.from_array(mask)) for seed in (1, 2))
    fingerprint = load_generator(model).fingerprint
    return Rule(
        **{"name": "r", "model": fingerprint, "layer": LAYER, "copy": regions[:1], "context": regions} | changes
    )


def answer(capsys, *arguments) -> dict:
    """What a command says to programs."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys, *arguments) -> str:
    """What a command says of bad input: one sentence on stderr, nothing on stdout, status 2."""
    capsys.readouterr()
    status = main(list(map(str, arguments)))
    out, error = capsys.readouterr()
    assert status == 2, error
    assert out == ""
    lines = [line for line in error.replace("\r", "\n").splitlines() if line.startswith("rewrite:")]
    assert len(lines) == 1
    assert error.rstrip().endswith(lines[0])
    assert "Traceback" not in error
    return lines[0]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


# What each command does.


def test_the_memory_that_measure_writes_says_where_it_comes_from(files):
    memory = Memory.load(files["memory"])
    assert memory.layer == LAYER
    assert memory.images == 30
    assert memory.model == load_generator(files["model"]).fingerprint


def test_sample_draws_what_the_library_draws(files, tmp_path, capsys):
    result = answer(capsys, "sample", files["model"], "--seeds", "0-2,7", "--columns", "2", "--out", tmp_path / "a.png")
    assert result["images"] == 4
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] < 2 * 128 + 40
        assert picture.size[1] > 2 * 128


def test_sample_with_a_patch_draws_other_images_and_with_strength_0_the_same(files, tmp_path):
    base = ["sample", str(files["model"]), "--seeds", "0-1", "--patch", str(files["patch"])]
    for name, more in (("edited", []), ("nothing", ["--strength", "0"]), ("both", ["--compare"])):
        assert main([*base, *more, "--out", str(tmp_path / f"{name}.png")]) == 0
    assert main(["sample", str(files["model"]), "--seeds", "0-1", "--out", str(tmp_path / "plain.png")]) == 0
    content = {path.stem: path.read_bytes() for path in tmp_path.iterdir()}
    assert content["plain"] == content["nothing"]
    assert content["plain"] != content["edited"]
    with Image.open(tmp_path / "plain.png") as plain, Image.open(tmp_path / "both.png") as both:
        assert both.size[1] == plain.size[1] + 130


def test_sample_shows_where_a_rule_would_fire(files, tmp_path):
    arguments = ["sample", str(files["model"]), "--seeds", "0-1", "--heat", str(files["rule"])]
    assert main([*arguments, "--out", str(tmp_path / "heat.png")]) == 0
    with Image.open(tmp_path / "heat.png") as picture:
        assert picture.size[1] > 2 * 128


def test_solve_without_a_memory_measures_it_once_and_keeps_it(files, tmp_path, cache, monkeypatch):
    solved = ["solve", str(files["rule"]), "--model", str(files["model"]), "--samples", "20"]
    assert main([*solved, "--out", str(tmp_path / "first.safetensors")]) == 0
    kept = list(cache.glob("*.safetensors"))
    assert len(kept) == 1
    monkeypatch.setattr("apps.memories.measure", None)
    assert main([*solved, "--out", str(tmp_path / "again.safetensors")]) == 0
    assert (tmp_path / "first.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_kept_memory_that_is_not_right_is_measured_again(files, capsys, damage):
    generator = load_generator(files["model"])
    path = cached_path(generator, LAYER, 10, "patch")
    memory_of(generator, LAYER, 10)
    good = path.read_bytes()
    if damage == "cut":
        path.write_bytes(good[:100])
    else:
        measure(generator, LAYER, 10, first_seed=5).save(path)
    assert torch.equal(memory_of(generator, LAYER, 10).total, measure(generator, LAYER, 10).total)
    assert "the kept memory is not used" in capsys.readouterr().err
    assert path.read_bytes() == good


def test_a_cache_that_cannot_be_written_does_not_stop_the_work(files, capsys, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("REWRITE_CACHE", str(tmp_path / "file" / "cache"))
    memory_of(load_generator(files["model"]), LAYER, 5)
    assert "the memory is not kept" in capsys.readouterr().err


def test_report_writes_three_files_and_says_the_numbers(files, tmp_path, capsys):
    result = answer(
        capsys, "report", files["patch"], "--model", files["model"], "--seeds", "5-8", "--out", tmp_path / "report"
    )
    assert names_in(tmp_path / "report") == ["before-after.png", "report.html", "report.json"]
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    assert result["efficacy"] == document["efficacy"]
    assert result["outside"] == document["outside"]
    assert document["measured_by"] == "places"


def test_report_uses_the_segmenter_of_towers_where_it_knows_the_concepts(files, tmp_path, capsys):
    rule = rule_of(files["model"], effect={"from": ["sky"], "to": "tree"}, expect={"efficacy": 2.0})
    rule.save(tmp_path / "rule.json")
    patch = tmp_path / "patch.safetensors"
    model, memory = ["--model", str(files["model"])], ["--memory", str(files["memory"])]
    assert main(["solve", str(tmp_path / "rule.json"), *model, *memory, "--out", str(patch)]) == 0
    report = ["report", str(patch), *model, "--seeds", "5-8"]
    assert main([*report, "--out", str(tmp_path / "seen")]) == 1
    assert "failed: rule 'r' expects efficacy of at least 2" in capsys.readouterr().out
    assert json.loads((tmp_path / "seen" / "report.json").read_text())["measured_by"] == "concepts"
    assert main([*report, "--segmenter", "none", "--out", str(tmp_path / "blind")]) == 1
    assert json.loads((tmp_path / "blind" / "report.json").read_text())["measured_by"] == "places"


def test_export_folds_the_patch_in(files, tmp_path, capsys):
    out = tmp_path / "edited.safetensors"
    answer(capsys, "export", files["model"], files["patch"], "--out", out)
    edited, generator = load_generator(out), load_generator(files["model"])
    with Patch.load(files["patch"]).applied(generator):
        assert torch.equal(edited.sample(range(3)), generator.sample(range(3)))
    assert answer(capsys, "inspect", out)["edits"] == [{"layers": [f"synthesis.{LAYER}.weight"]}]


def test_demo_goes_the_whole_way(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(loading.BUILT_IN, "towers", files["model"])
    monkeypatch.setattr("apps.commands.demo.RULE", str(files["rule"]))
    monkeypatch.setattr("rewrite.report.SEEDS", 6)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    assert "(efficacy)" in said
    assert "(outside)" in said
    for name in names_in(tmp_path / "demo"):
        assert str(tmp_path / "demo" / name) in said
    assert len(names_in(tmp_path / "demo")) == 5


@pytest.mark.parametrize(
    ("name", "kind", "fact"),
    [
        ("model", "generator", "b16.conv1: 4 to 4 channels at 16 x 16"),
        ("memory", "memory", "dimensions: 36"),
        ("patch", "patch", "rank: 3"),
        ("rule", "rule", "places: 2"),
    ],
)
def test_inspect_tells_what_a_file_of_ours_holds(files, capsys, name, kind, fact):
    assert answer(capsys, "inspect", files[name])["kind"] == kind
    assert main(["inspect", str(files[name])]) == 0
    assert fact in capsys.readouterr().out


def test_inspect_knows_the_segmenter_and_reports(files, tmp_path, capsys):
    assert "tree" in answer(capsys, "inspect", ROOT / "dissect" / "segmenter.safetensors")["concepts"]
    report = ["report", str(files["patch"]), "--model", str(files["model"]), "--seeds", "5", "--out", str(tmp_path)]
    assert main(report) == 0
    assert answer(capsys, "inspect", tmp_path / "report.json")["images"] == 1
    assert answer(capsys, "inspect", tmp_path / "before-after.png")["kind"] == "PNG picture"
    assert answer(capsys, "inspect", tmp_path / "report.html")["kind"].startswith("web page")


class Explosive:
    """Unpickling this would write a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("old", [False, True])
def test_inspect_looks_into_foreign_checkpoints_without_running_them(tmp_path, capsys, old):
    torch.save(
        {"bomb": Explosive(tmp_path / "ran"), "weight": torch.zeros(10)},
        tmp_path / "net.pt",
        _use_new_zipfile_serialization=not old,
    )
    found = answer(capsys, "inspect", tmp_path / "net.pt")
    assert found["kind"].startswith("PyTorch checkpoint")
    assert any("touch" in name or "getattr" in name for name in found["names"])
    assert not (tmp_path / "ran").exists()


# How commands fail.


def test_a_file_that_is_no_checkpoint(tmp_path, capsys):
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").touch()
    assert "not a safetensors file" in refusal(capsys, "sample", tmp_path / "text.pt", "--out", tmp_path / "a.png")
    assert "no file that this library knows" in refusal(capsys, "inspect", tmp_path / "text.pt")
    assert "is empty" in refusal(capsys, "inspect", tmp_path / "empty.pt")
    assert "is a folder" in refusal(capsys, "inspect", tmp_path)


@pytest.mark.parametrize("kept", [5, 100, 0.5, -1])
def test_a_checkpoint_that_is_cut_short(files, tmp_path, capsys, kept):
    content = files["model"].read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: int(kept * len(content)) if kept == 0.5 else kept])
    for command in (
        ["inspect", tmp_path / "cut.safetensors"],
        ["export", tmp_path / "cut.safetensors", files["patch"]],
    ):
        more = ["--out", tmp_path / "out.safetensors"] if command[0] == "export" else []
        assert "cut.safetensors" in refusal(capsys, *command, *more)
    assert names_in(tmp_path) == ["cut.safetensors"]


def test_weights_that_are_not_numbers(files, tmp_path, capsys):
    state = load_generator(files["model"]).module.state_dict()
    state["synthesis.b8.conv1.weight"][0, 0, 0, 0] = float("nan")
    native.save_stylegan2(tmp_path / "nan.safetensors", state, CONFIG, {})
    said = refusal(capsys, "sample", tmp_path / "nan.safetensors", "--out", tmp_path / "a.png")
    assert "not finite, first in synthesis.b8.conv1.weight" in said
    assert "not finite" in refusal(capsys, "inspect", tmp_path / "nan.safetensors")


def test_an_unknown_layer(files, tmp_path, capsys):
    said = refusal(capsys, "measure", files["model"], "--layer", "b16.conv", "--out", tmp_path / "m.safetensors")
    assert "did you mean b16.conv1?" in said
    rule_of(files["model"], layer="b32.conv1").save(tmp_path / "rule.json")
    assert "no layer 'b32.conv1'" in refusal(capsys, "solve", tmp_path / "rule.json", "--model", files["model"])


@pytest.mark.parametrize("side", [24, 17])
def test_a_mask_of_a_wrong_size(files, tmp_path, capsys, side):
    rule_of(files["model"], side=side).save(tmp_path / "rule.json")
    said = refusal(capsys, *solving(files, tmp_path))
    assert f"the image is 16 x 16 pixels, but a mask of {side} x {side} was given" in said
    assert names_in(tmp_path) == ["rule.json"]


def test_an_empty_mask(files, tmp_path, capsys):
    document = json.loads(rule_of(files["model"]).to_json())
    document["context"][0]["mask"]["runs"] = []
    (tmp_path / "rule.json").write_text(json.dumps(document))
    assert "at least one pixel" in refusal(capsys, *solving(files, tmp_path))


def test_a_rule_for_another_model(files, tmp_path, capsys):
    rule_of(files["model"], model="0123456789abcdef").save(tmp_path / "rule.json")
    assert "written on model 0123456789abcdef" in refusal(capsys, *solving(files, tmp_path))


@pytest.mark.parametrize("rank", [0, -3, 5, 10_000])
def test_a_rank_out_of_range(files, tmp_path, capsys, rank):
    rule_of(files["model"]).save(tmp_path / "rule.json")
    assert "rank must" in refusal(capsys, *solving(files, tmp_path), "--rank", rank)
    assert names_in(tmp_path) == ["rule.json"]


def test_a_memory_of_another_layer(files, tmp_path, capsys):
    measure(load_generator(files["model"]), "b8.conv1", 5).save(tmp_path / "memory.safetensors")
    rule_of(files["model"]).save(tmp_path / "rule.json")
    said = refusal(capsys, *solving(files, tmp_path, memory=tmp_path / "memory.safetensors"))
    assert "measured on layer b8.conv1, not on layer b16.conv1" in said


def solving(files: dict[str, Path], folder: Path, memory: Path | None = None) -> list:
    given = ["--model", files["model"], "--memory", memory or files["memory"]]
    return ["solve", folder / "rule.json", *given, "--out", folder / "patch.safetensors"]


def test_files_that_are_taken_for_one_another(files, tmp_path, capsys):
    out = ["--out", tmp_path / "out.png"]
    assert "holds a memory, not a patch" in refusal(capsys, "sample", files["model"], "--patch", files["memory"], *out)
    assert "holds a patch, not a generator" in refusal(capsys, "sample", files["patch"], *out)
    assert "is no rule" in refusal(capsys, "solve", files["model"], "--model", files["model"])


def test_a_patch_for_another_weight(files, tmp_path, capsys):
    edited = tmp_path / "edited.safetensors"
    answer(capsys, "export", files["model"], files["patch"], "--out", edited)
    said = refusal(capsys, "export", edited, files["patch"], "--out", tmp_path / "twice.safetensors")
    assert "this patch was made for weight" in said
    assert names_in(tmp_path) == ["edited.safetensors"]


@pytest.mark.parametrize("command", ["sample", "measure", "solve", "report", "export"])
def test_a_folder_that_cannot_be_written_to(files, tmp_path, capsys, command):
    (tmp_path / "file").write_text("in the way")
    said = refusal(capsys, *writing(command, files, tmp_path / "file" / "out.png"))
    assert "cannot write" in said
    assert (tmp_path / "file").read_text() == "in the way"
    assert names_in(tmp_path) == ["file"]


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
def test_a_full_disk_leaves_the_old_file_and_nothing_else(files, tmp_path, capsys, command):
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
        said = refusal(capsys, *writing(command, files, out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot write" in said
    assert names_in(tmp_path) == before
    assert (out / "report.json" if command == "report" else out).read_text() == "old"


def test_a_report_whose_second_file_does_not_fit_is_not_written_at_all(files, tmp_path, capsys, monkeypatch):
    opened, count = os.fdopen, []

    def fills_up(*arguments):
        count.append(arguments)
        if len(count) > 1:
            os.close(arguments[0])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(*arguments)

    monkeypatch.setattr("rewrite.files.os.fdopen", fills_up)
    said = refusal(capsys, *writing("report", files, tmp_path / "report"))
    assert said == f"rewrite: cannot write into {tmp_path / 'report'}: No space left on device"
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smaple"], "did you mean sample?"),
        (["--wrong"], "the following arguments are required: COMMAND"),
        (["sample"], "required: --out"),
        (["sample", "--out", "a.png", "--sedes", "3"], "unrecognized arguments: --sedes 3"),
        (["sample", "--out", "a.png", "--seeds", "5-3"], "a range of seeds goes up"),
        (["sample", "--out", "a.png", "--seeds", "x"], "seeds are numbers and ranges"),
        (["sample", "nothing.pt", "--out", "a.png"], "there is no file nothing.pt"),
        (["sample", "--out", "a.png", "--noise", "loud"], "invalid choice: 'loud'"),
        (["sample", "--out", "a.png", "--strength", "1", "--strength", "2"], "--strength is given once"),
        (["solve", "nothing.json"], "there is no file nothing.json"),
        (["report", "nothing.safetensors", "--out", "r"], "there is no file nothing.safetensors"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refusal(capsys, *arguments)
    assert names_in(tmp_path) == []


def test_a_name_that_is_nearly_that_of_a_file(files, capsys):
    wrong = files["model"].with_name("modell.safetensors")
    assert "did you mean model.safetensors?" in refusal(capsys, "inspect", wrong)


@pytest.mark.parametrize(
    ("given", "message"),
    [("--truncation=3", "truncation lies between 0 and 2"), ("--columns=0", "at least one column")],
)
def test_numbers_out_of_range(files, tmp_path, capsys, given, message):
    assert message in refusal(capsys, "sample", files["model"], given, "--out", tmp_path / "a.png")
    said = refusal(capsys, "measure", files["model"], "--layer", LAYER, "--samples", "0", "--out", tmp_path / "m")
    assert "samples must be at least 1" in said


def test_a_report_on_weights_that_are_no_trunk(files, tmp_path, capsys):
    (tmp_path / "trunk.pth").write_text("no")
    arguments = writing("report", files, tmp_path / "report")
    assert "trunk.pth cannot be read" in refusal(capsys, *arguments, "--lpips", tmp_path / "trunk.pth")


def test_bugs_are_not_hidden(files, monkeypatch, tmp_path):
    monkeypatch.setenv("REWRITE_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError):
        main(["inspect", str(tmp_path / "nothing")])


# The program as a process of its own.


def test_help_answers_without_torch():
    code = (
        "import sys\nfrom apps.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'rewrite'} & set(sys.modules)), file=sys.stderr)"
    )
    for arguments in (["--help"], *([name, "--help"] for name in list(COMMANDS)[:2])):
        done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.stderr == "[]\n"
        assert done.stdout.startswith("usage: rewrite")


def test_ctrl_c_in_the_middle_of_a_long_measurement(files, tmp_path):
    measuring = ["measure", str(files["model"]), "--layer", LAYER, "--samples", "1000000"]
    command = [sys.executable, "-m", "apps.cli", *measuring, "--out", str(tmp_path / "memory.safetensors")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        said = ""
        while "img/s" not in said:
            said += process.stderr.read(1)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
    assert process.returncode == 130
    assert said.rstrip().endswith("rewrite: interrupted; nothing half-written was left")
    assert "Traceback" not in said
    assert names_in(tmp_path) == []


# Seeds.


def test_seeds_are_numbers_and_ranges_with_both_ends():
    assert parse_seeds("0-3,7, 9-9") == (0, 1, 2, 3, 7, 9)


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "1,,2", "0-100000", "4294967296", "1.5"])
def test_other_texts_are_no_seeds(text):
    with pytest.raises(ValueError, match="seeds"):
        parse_seeds(text)
