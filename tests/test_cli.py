"""The program: what each command writes and says, and how it fails."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import marked_rule
from PIL import Image

from apps.cli import COMMANDS, main
from apps.commands.solve import tell
from apps.memories import cached_path, memory_of
from rewrite import Memory, Patch, Rule, Settings, load_generator, measure
from rewrite.checkpoints import loading
from rewrite.memory.measurement import Measurement
from rewrite.reports.forecast import TOO_FEW
from rewrite.storage import files as files_of

LAYER = "b16.conv1"
ROOT = Path(__file__).parents[1]


pytestmark = pytest.mark.usefixtures("cache")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_measure_writes_a_memory_that_says_where_it_comes_from(files, tmp_path, answer):
    out = tmp_path / "memory.safetensors"
    result = answer("measure", files["model"], "--layer", LAYER, "--samples", "30", "--out", out)
    assert result["dimensions"] == 36
    assert torch.equal(Memory.load(out).total, Memory.load(files["memory"]).total)


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


def test_solve_without_a_memory_measures_it_once_and_keeps_it(files, tmp_path, cache, monkeypatch):
    solved = ["solve", str(files["rule"]), "--model", str(files["model"]), "--samples", "20"]
    assert main([*solved, "--out", str(tmp_path / "first.safetensors")]) == 0
    kept = list(cache.glob("*.safetensors"))
    assert len(kept) == 1
    monkeypatch.setattr("apps.memories.Measurement", None)
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
    proposing = ["propose", files["rule"], "--model", files["model"], "--seeds", "5-40", "--out", tmp_path / "out"]
    assert said in refusal(*proposing, *arguments)
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


def test_ctrl_c_in_the_middle_of_a_long_measurement_keeps_its_sums(files, tmp_path, answer, refusal):
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
    kept = tmp_path / "memory.unfinished.safetensors"
    assert said.rstrip().endswith(f"images are in {kept}: the same command goes on from there")
    assert "Traceback" not in said
    assert names_in(tmp_path) == [kept.name]
    told = answer("inspect", kept)
    assert (told["kind"], told["layer"], told["samples"]) == ("part of a memory", LAYER, 1_000_000)
    assert told["images"] > 0
    assert "holds a part of a memory, not a memory" in refusal(
        "solve", files["rule"], "--model", files["model"], "--memory", kept, "--out", tmp_path / "patch.safetensors"
    )


def ended_after(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C as soon as a measurement has read so many images."""
    summed = Measurement._read

    def read(self: Measurement, upto: int) -> None:
        def stop(count: int) -> None:
            if count >= images:
                raise KeyboardInterrupt

        self._on_progress = stop
        summed(self, upto)

    monkeypatch.setattr(Measurement, "_read", read)


@pytest.mark.parametrize("how", [[], ["--samples", "90"], ["--samples", "90", "--key-space", "channel"]])
@pytest.mark.parametrize("layer", [LAYER, "b16.conv0"])
def test_a_measurement_that_was_ended_goes_on_to_the_same_file(files, tmp_path, capsys, monkeypatch, how, layer):
    monkeypatch.setattr("rewrite.memory.accuracy.WITHIN", 0.03)  # so that 200 images are not enough
    measuring = ["measure", str(files["model"]), "--layer", layer, *how]
    assert main([*measuring, "--out", str(tmp_path / "whole.safetensors")]) == 0
    out = tmp_path / "memory.safetensors"
    for images in (1, 40, 60, 250):
        with pytest.MonkeyPatch.context() as patched:
            ended_after(images, patched)
            if main([*measuring, "--out", str(out)]) == 130:
                assert "the same command goes on from there" in capsys.readouterr().err
                assert not out.exists()
    assert main([*measuring, "--out", str(out)]) == 0
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert names_in(tmp_path) == ["memory.safetensors", "whole.safetensors"]


def test_what_was_summed_for_another_measurement_or_is_damaged_is_refused(files, tmp_path, monkeypatch, refusal):
    measuring = ["measure", files["model"], "--layer", LAYER, "--out", tmp_path / "memory.safetensors"]
    with pytest.MonkeyPatch.context() as patched:
        ended_after(1, patched)
        assert main([*map(str, measuring), "--samples", "50"]) == 130
    assert "is of another measurement: name another file, or delete it" in refusal(*measuring, "--samples", "60")
    kept = tmp_path / "memory.unfinished.safetensors"
    tensors, about = files_of.load_tensors(kept, "part of a memory")
    for wrong, header in (
        ({**tensors, "0.sum": torch.zeros(2, 2)}, about),
        ({name: each for name, each in tensors.items() if name != "counted"}, about),
        (tensors, {**about, "images": 10**9}),
        ({**tensors, "0.sum": tensors["0.sum"] / 0}, about),
    ):
        files_of.save_tensors(kept, wrong, "part of a memory", header)
        assert str(kept) in refusal(*measuring, "--samples", "50")


def test_solve_goes_on_with_a_measurement_that_ctrl_c_ended(files, tmp_path, cache, capsys):
    solving = ["solve", str(files["rule"]), "--model", str(files["model"]), "--samples", "60"]
    with pytest.MonkeyPatch.context() as patched:
        ended_after(30, patched)
        assert main([*solving, "--out", str(tmp_path / "patch.safetensors")]) == 130
    assert "the sums over 32 images are in" in capsys.readouterr().err
    assert main([*solving, "--out", str(tmp_path / "patch.safetensors")]) == 0
    (kept,) = cache.glob("*.safetensors")
    assert torch.equal(Memory.load(kept).total, measure(load_generator(files["model"]), LAYER, 60).total)


def test_measure_reads_as_many_images_as_are_needed_and_says_so(files, tmp_path, capsys, answer):
    out = tmp_path / "memory.safetensors"
    assert main(["measure", str(files["model"]), "--layer", LAYER, "--out", str(out)]) == 0
    assert "its forecast of damage is within" in capsys.readouterr().out
    said = answer("inspect", out)
    assert said["images"] == Memory.load(out).images < 2000
    assert said["off"] <= 0.1
    assert said["stopped"] == "more images would move the forecast by less than 10%"


def test_a_memory_of_as_many_images_as_are_needed_is_kept(files, cache, monkeypatch):
    generator = load_generator(files["model"])
    found = memory_of(generator, LAYER, "auto")
    monkeypatch.setattr("apps.memories.Measurement", None)
    assert torch.equal(memory_of(generator, LAYER, "auto").total, found.total)


def test_a_stop_after_the_last_images_were_read_keeps_nothing(files, cache):
    said = []

    def stop(images: int) -> None:
        said.append(images)
        if said.count(20) > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        memory_of(load_generator(files["model"]), LAYER, 20, on_progress=stop)
    assert list(cache.rglob("*.safetensors")) == []


def test_a_number_of_images_that_is_none_is_refused(files, refusal, tmp_path):
    said = refusal(
        "measure", files["model"], "--layer", LAYER, "--samples", "many", "--out", tmp_path / "m.safetensors"
    )
    assert "a number of images or auto, got 'many'" in said
