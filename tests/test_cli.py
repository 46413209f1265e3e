"""The program: what each command writes and says, and how it fails."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from apps.cli import COMMANDS, main
from apps.commands.solve import tell
from rewrite import Patch, Rule, Settings, load_generator
from rewrite.checkpoints import loading
from rewrite.reports.forecast import TOO_FEW
from tests.networks import marked_rule

LAYER = "b16.conv1"
ROOT = Path(__file__).parents[1]


pytestmark = pytest.mark.usefixtures("cache")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_sample_draws_what_the_library_draws(files, tmp_path, answer):
    result = answer("sample", files["model"], "--seeds", "0-2,7", "--columns", "2", "--out", tmp_path / "a.png")
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
    arguments = ["sample", str(files["model"]), "--seeds", "0-1", "--heat", str(files["rule"]), "--samples", "20"]
    assert main([*arguments, "--out", str(tmp_path / "heat.png")]) == 0
    with Image.open(tmp_path / "heat.png") as picture:
        assert picture.size[1] > 2 * 128


LEFT_OUT = {"arrives": 0.3, "beside": 0.1, "each": [0.2, 0.4]}


@pytest.mark.parametrize(
    ("left_out", "first"),
    [
        (LEFT_OUT, "forecast at places that were not marked: arrives at the layer 0.300 (0.200 to 0.400), beside"),
        (
            {**LEFT_OUT, "drawn": {"arrives": 0.25, "strays": 0.05, "each": [0.1, 0.5]}},
            "forecast at places that were not marked: arrives in the image 0.250 (0.100 to 0.500), strays in the image "
            "0.050, arrives at the layer 0.300 (0.200 to 0.400), beside",
        ),
    ],
)
def test_forecasts_are_told_at_places_that_were_not_marked_first(files, tmp_path, capsys, left_out, first):
    patch = Patch.load(files["patch"])
    patch = replace(patch, forecast={**patch.forecast, "left_out": left_out, "notes": ["mind this"]})
    said = tell({"rule": "r", "rank": 3, "layer": LAYER, "out": "p", "forecast": patch.forecast}).splitlines()
    assert said[1].startswith(first)
    assert said[2].startswith("forecast by what was solved for: residual")
    assert said[3] == "note: mind this"
    patch.save(tmp_path / "patch.safetensors")
    report = ["report", str(tmp_path / "patch.safetensors"), "--model", str(files["model"]), "--seeds", "5-6"]
    assert main([*report, "--out", str(tmp_path / "report")]) == 0
    out = capsys.readouterr().out
    assert all(f"{LAYER}: {line}\n" in out for line in said[1:])


def test_with_two_marked_images_solve_says_that_none_was_left_out(files, tmp_path, capsys):
    marked_rule(files["model"], settings=Settings.from_marks()).save(tmp_path / "rule.json")
    given = ["--model", str(files["model"]), "--memory", str(files["memory"])]
    assert main(["solve", str(tmp_path / "rule.json"), *given, "--out", str(tmp_path / "patch.safetensors")]) == 0
    assert f"note: {TOO_FEW}" in capsys.readouterr().out


def test_propose_shows_further_contexts_and_writes_the_rule_with_those_accepted(files, tmp_path, answer):
    proposing = ["propose", files["rule"], "--model", files["model"], "--seeds", "5-40"]
    found = answer(*proposing, "--contexts", "5", "--out", tmp_path / "seen")
    assert names_in(tmp_path / "seen") == ["proposals.png"]
    assert len(found["contexts"]) == 5
    assert found["accepted"] == []
    taken = answer(*proposing, "--contexts", "5", "--accept", "2,4-5", "--out", tmp_path / "taken")
    assert taken["contexts"] == found["contexts"]
    assert taken["accepted"] == [2, 4, 5]
    before, after = Rule.load(files["rule"]), Rule.load(tmp_path / "taken" / "rule.json")
    assert after.with_contexts(before.context) == after
    seeds = {place.latent.seed for place in after.context[len(before.context) :]}
    assert seeds == {found["contexts"][number - 1]["seed"] for number in (2, 4, 5)}
    everything = answer(*proposing, "--accept", "all", "--out", tmp_path / "all")
    assert everything["accepted"] == list(range(1, len(everything["contexts"]) + 1))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--accept", "some"], "--accept takes all, or numbers such as 1,3 or 1-5, got 'some'"),
        (["--accept", "0-3"], "proposals count from 1"),
        (["--accept", "7", "--contexts", "3"], "--accept names proposal 7, but there are 3"),
        (["--contexts", "0"], "at least 1, got 0"),
        (["--layer", "b9"], "no layer 'b9'"),
        (["--layers", "b9"], "no layer 'b9'"),
        (["--layers", "all", "--accept", "all"], "--accept takes proposed contexts"),
    ],
)
def test_propose_refuses_what_it_cannot_do_and_writes_nothing(files, tmp_path, refusal, arguments, said):
    proposing = ["propose", files["rule"], "--model", files["model"], "--out", tmp_path / "out"]
    seeds = [] if "--layers" in arguments else ["--seeds", "5-40"]
    assert said in refusal(*proposing, *seeds, *arguments)
    assert not (tmp_path / "out").exists()


def test_report_writes_three_files_and_says_the_numbers(files, tmp_path, answer):
    result = answer("report", files["patch"], "--model", files["model"], "--seeds", "5-8", "--out", tmp_path / "report")
    assert names_in(tmp_path / "report") == ["before-after.png", "report.html", "report.json"]
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    assert result["efficacy"] == document["efficacy"]
    assert result["outside"] == document["outside"]
    assert document["measured_by"] == "places"


def test_report_uses_the_segmenter_of_towers_where_it_knows_the_concepts(files, tmp_path, capsys):
    rule = marked_rule(files["model"], effect={"from": ["sky"], "to": "tree"}, expect={"efficacy": 1.0})
    rule.save(tmp_path / "rule.json")
    patch = tmp_path / "patch.safetensors"
    model, memory = ["--model", str(files["model"])], ["--memory", str(files["memory"])]
    assert main(["solve", str(tmp_path / "rule.json"), *model, *memory, "--out", str(patch)]) == 0
    report = ["report", str(patch), *model, "--seeds", "5-8"]
    assert main([*report, "--out", str(tmp_path / "seen")]) == 1
    assert "failed: rule 'r' expects efficacy of at least 1" in capsys.readouterr().out
    assert json.loads((tmp_path / "seen" / "report.json").read_text())["measured_by"] == "concepts"
    assert main([*report, "--segmenter", "none", "--out", str(tmp_path / "blind")]) == 1
    assert json.loads((tmp_path / "blind" / "report.json").read_text())["measured_by"] == "places"


def test_export_folds_the_patch_in(files, tmp_path, answer):
    out = tmp_path / "edited.safetensors"
    answer("export", files["model"], files["patch"], "--out", out)
    edited, generator = load_generator(out), load_generator(files["model"])
    with Patch.load(files["patch"]).applied(generator):
        assert torch.equal(edited.sample(range(3)), generator.sample(range(3)))
    assert answer("inspect", out)["edits"] == [{"layers": [f"synthesis.{LAYER}.weight"]}]


def test_demo_goes_the_whole_way(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(loading.BUILT_IN, "towers", files["model"])
    monkeypatch.setattr("apps.commands.demo.RULE", str(files["rule"]))
    monkeypatch.setattr("apps.commands.demo.SAMPLES", 20)
    monkeypatch.setattr("apps.commands.demo.IMAGES", 6)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    assert "Efficacy: " in said
    assert "Change outside: " in said
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
def test_inspect_tells_what_a_file_of_ours_holds(files, capsys, name, kind, fact, answer):
    assert answer("inspect", files[name])["kind"] == kind
    assert main(["inspect", str(files[name])]) == 0
    assert fact in capsys.readouterr().out


def test_inspect_knows_the_segmenter_and_reports(files, tmp_path, answer):
    assert "tree" in answer("inspect", ROOT / "dissect" / "segmenter.safetensors")["concepts"]
    report = ["report", str(files["patch"]), "--model", str(files["model"]), "--seeds", "5", "--out", str(tmp_path)]
    assert main(report) == 0
    assert answer("inspect", tmp_path / "report.json")["images"] == 1
    assert answer("inspect", tmp_path / "before-after.png")["kind"] == "PNG picture"
    assert answer("inspect", tmp_path / "report.html")["kind"].startswith("web page")


class Explosive:
    """Unpickling this would write a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("old", [False, True])
def test_inspect_looks_into_foreign_checkpoints_without_running_them(tmp_path, old, answer):
    torch.save(
        {"bomb": Explosive(tmp_path / "ran"), "weight": torch.zeros(10)},
        tmp_path / "net.pt",
        _use_new_zipfile_serialization=not old,
    )
    found = answer("inspect", tmp_path / "net.pt")
    assert found["kind"].startswith("PyTorch checkpoint")
    assert any("touch" in name or "getattr" in name for name in found["names"])
    assert not (tmp_path / "ran").exists()


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
