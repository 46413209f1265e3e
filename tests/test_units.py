"""`rewrite units`, `rotation` and `rule`: what they write, say, refuse and take up again."""

import base64
import csv
import io
import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from apps.cli import main
from apps.commands import rotation
from dissect.concept_rule import units_of
from dissect.sources.towers import SegmenterSource
from dissect.units import counting
from dissect.units.counting import dissect
from dissect.units.dissection import BUILT_IN, load_dissections
from dissect.units.probe import GeneratorProbe
from rewrite import Rule, load_generator
from rewrite.storage.ledger import images_in
from tests.editors import CHROMIUM, needs_chromium
from tests.markup import HOSTILE, assert_shown_as_text, renamed

LAYER = "b32.conv0"
UNITS = ("units", "towers", "--layer", LAYER, "--samples", "70", "--level-samples", "16")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("units")
    assert main([*UNITS, "--informative", "--out", str(out)]) == 0
    return out


def test_every_pair_of_unit_and_concept_is_in_the_table(written):
    rows = list(csv.DictReader(io.StringIO((written / "units.csv").read_text())))
    found = load_dissections(written / "units.safetensors")[LAYER].scores
    assert len(rows) == 64 * len(found.concepts)
    for row in rows[::23]:
        place = int(row["unit"]), found.concepts.number(row["concept"])
        assert float(row["iou"]) == pytest.approx(found.iou[place], rel=1e-5, abs=1e-9)
        assert int(row["shared_pixels"]) == found.tally.both[place]
        assert row["informative_level"]


def test_the_document_tells_the_best_concept_and_its_runners_up(written):
    document = json.loads((written / "units.json").read_text())
    found = load_dissections(written / "units.safetensors")[LAYER].scores
    layer = document["layers"][0]
    assert document["images"] == 70
    assert layer["detectors"] == found.detects().sum() == sum(unit["detects"] for unit in layer["unit"])
    assert layer["by_concept"] == found.detectors()
    for unit in layer["unit"]:
        order = [unit["iou"], *(each["iou"] for each in unit["runners_up"])]
        assert order == sorted(found.iou[unit["unit"]], reverse=True)[:6]
        assert len(unit["top_images"]) == 8
    assert layer["by_category"]["plant"]["units"] == sum(
        layer["by_concept"].get(n, 0) for n in ("tree", "trunk", "grass")
    )


def test_the_counts_are_those_of_the_library(written):
    generator = load_generator("towers")
    ours = dissect(GeneratorProbe(generator, [LAYER], SegmenterSource()), 70, level_samples=16)[LAYER]
    assert torch.equal(load_dissections(written / "units.safetensors")[LAYER].tally.both, ours.tally.both)


def test_the_page_needs_nothing_from_outside(written):
    page = (written / "units.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    shown = shown_by(page)["layers"][0]
    assert [unit["unit"] for unit in shown["units"]] == list(range(64))
    for unit in shown["units"]:
        assert Image.open(io.BytesIO(base64.b64decode(unit["strip"]))).size == tuple(unit["size"])
    found = load_dissections(written / "units.safetensors")[LAYER].scores
    ious = np.frombuffer(base64.b64decode(shown["scores"]), "<u2").reshape(found.iou.shape) / 65535
    assert np.abs(ious - found.iou).max() < 1e-5


def shown_by(page: str) -> dict:
    """What a page of units holds for its cards."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def test_several_layers_are_on_one_page_with_an_overview(tmp_path, answer):
    layers = ("--layer", "b16.torgb", "--layer", LAYER, "--layer", "b32.conv1")
    result = answer("units", "towers", *layers, "--samples", 16, "--level-samples", 8, "--out", tmp_path)
    assert [layer["layer"] for layer in result["layers"]] == ["b16.torgb", LAYER, "b32.conv1"]
    page = (tmp_path / "units.html").read_text()
    assert [len(layer["units"]) for layer in shown_by(page)["layers"]] == [3, 64, 64]
    tree = re.search(r"<tr><th>tree</th>(.*?)</tr>", page)[1]
    shown = [int(count or 0) for count in re.findall(r"<td[^>]*>(\d*)</td>", tree)]
    assert shown == [layer["by_concept"].get("tree", 0) for layer in result["layers"]]


@needs_chromium
def test_the_page_sorts_and_filters_in_a_browser(written, tmp_path):
    script = (
        "<script>addEventListener('load',()=>{const set=(id,value)=>{const c=document.getElementById(id);"
        "c.type==='checkbox'?c.checked=value:c.value=value;c.dispatchEvent(new Event('input'))};"
        "const seen=()=>{while(!end.hidden)draw();return [...document.querySelectorAll('.unit')].map(c=>c.dataset)};"
        "const out={all:seen().map(d=>+d.iou)};set('sort','unit');out.units=seen().map(d=>+d.unit);"
        "set('find','tree');out.trees=seen().map(d=>d.concept);set('find','17');out.one=seen().map(d=>+d.unit);"
        "set('find','');set('only',true);out.detectors=seen().length;set('only',false);set('sort','iou');"
        "set('concept','SKY');out.sky=seen().map(d=>+d.agreement);"
        "document.querySelector('.unit summary').click();"
        "document.title=JSON.stringify(out)})</script>"
    ).replace("SKY", str(load_dissections(written / "units.safetensors")[LAYER].concepts.number("sky")))
    page = tmp_path / "units.html"
    page.write_text((written / "units.html").read_text().replace("</body>", f"{script}</body>"))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"file://{page}"]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = json.loads(re.search(r"<title>(.*?)</title>", dom)[1])
    layer = json.loads((written / "units.json").read_text())["layers"][0]
    assert found["all"] == sorted(found["all"], reverse=True)
    assert found["units"] == list(range(64))
    assert set(found["trees"]) <= {"tree"}
    assert found["one"] == [17]
    assert found["detectors"] == layer["detectors"]
    scores = load_dissections(written / "units.safetensors")[LAYER].scores
    wanted = sorted(scores.iou[:, scores.concepts.number("sky")], reverse=True)
    assert np.allclose(found["sky"], wanted, atol=1e-5)


def test_a_run_that_was_killed_goes_on_and_ends_as_an_undisturbed_one(written, tmp_path):
    out = tmp_path / "killed"
    program = [sys.executable, "-c", f"import sys; {SLOW}; sys.exit(apps.cli.main(sys.argv[1:]))"]
    command = [*program, *UNITS, "--informative", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not images_in(out / "units.safetensors", "units"):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (out / "units.html").exists()
    half = load_dissections(out / "units.safetensors")[LAYER]
    assert half.tally.images == 64
    assert main([*UNITS, "--informative", "--out", str(out)]) == 0
    for name in ("units.safetensors", "units.json", "units.csv", "units.html"):
        assert (out / name).read_bytes() == (written / name).read_bytes(), name


SLOW = (
    "import time, apps.cli, rewrite.storage.ledger as l; l.SECONDS_BETWEEN_SAVES = 0.0; old = l.Ledger.save; "
    "l.Ledger.save = lambda self: (old(self), self.stages['units'].images and time.sleep(30))"
)


def test_workers_write_what_one_writes_also_after_ctrl_c(written, tmp_path):
    program = [sys.executable, "-c", f"import sys; {WAITING}; sys.exit(apps.cli.main(sys.argv[1:]))"]
    command = [*program, *UNITS, "--informative", "--workers", "2", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while process.poll() is None and not (tmp_path / "units.safetensors").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert "Traceback" not in process.communicate()[1]
    assert process.returncode == 130
    assert (tmp_path / "units.safetensors").exists()
    assert not (tmp_path / "units.html").exists()
    assert main([*UNITS, "--informative", "--workers", "2", "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written.iterdir())
    for path in written.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


# So that Ctrl-C comes while the workers count.
WAITING = (
    "import pathlib, time, apps.cli, rewrite.shards.crew as c; old = c._Out.look; c._Out.look = lambda self: "
    "time.sleep(30) if pathlib.Path(sys.argv[-1], 'units.safetensors').exists() else old(self)"
)


def test_inspect_tells_what_a_dissection_is_of_and_what_it_found(written, answer):
    said, document = answer("inspect", written / "units.safetensors"), json.loads((written / "units.json").read_text())
    assert (said["kind"], said["images"], said["model"]) == ("dissection", 70, load_generator("towers").fingerprint)
    assert said["concepts"] == [each["name"] for each in document["concepts"]]
    assert said["layers"] == {LAYER: f"64 units, {document['layers'][0]['detectors']} detect a concept"}
    # The one that comes with the library was written by version 0.1.
    assert answer("inspect", BUILT_IN["towers"])["images"] == 400


def test_a_finished_run_is_not_counted_again(written, monkeypatch):
    monkeypatch.setattr(counting, "_counted", lambda *arguments: pytest.fail("counted again"))
    assert main([*UNITS, "--informative", "--out", str(written)]) == 0


def test_rotation_writes_the_curves_the_losses_and_the_null_of_several_layers(tmp_path, answer):
    layers = ("--layer", LAYER, "--layer", "b4.conv1")
    result = answer("rotation", "towers", *layers, "--samples", 32, "--level-samples", 16, "--out", tmp_path)
    assert [layer["layer"] for layer in result["layers"]] == ["b4.conv1", LAYER]
    layer = result["layers"][1]
    assert [step["alpha"] for step in layer["rotation"]] == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert [bound["iou"] for bound in layer["rotation"][0]["by_bound"]] == [0.04, 0.1, 0.2]
    units = load_dissections(tmp_path / "rotation.safetensors")[f"{LAYER} 0"].scores
    first, last = layer["rotation"][0]["by_bound"][2], layer["rotation"][-1]["by_bound"][2]
    assert first["detectors"] == (units.iou.max(axis=1) > 0.2).sum()
    assert layer["lost"][2]["detectors"] == 1 - last["detectors"] / first["detectors"]
    assert layer["rotation"][-1]["detectors"] > layer["random_weights"]["detectors"]
    assert layer["rotation"][0]["mean_best_iou"] > layer["rotation"][0]["mean_chance"]
    assert layer["random_weights"]["units"] == 64
    rows = list(csv.DictReader(io.StringIO((tmp_path / "rotation.csv").read_text())))
    assert len(rows) == 2 * 7
    assert rows[-1]["alpha"] == "random weights"
    assert (tmp_path / "rotation.html").read_text().count("<svg") == 6
    document = renamed(json.loads((tmp_path / "rotation.json").read_text()), LAYER, "tree")
    assert_shown_as_text(rotation.page(document, HOSTILE))


def test_a_rule_is_written_from_concepts(tmp_path, answer):
    out = tmp_path / "trees.json"
    result = answer(
        "rule",
        "towers",
        "--copy",
        "tree",
        "--context",
        "dome, spire",
        "--seeds",
        "0-19",
        "--protect",
        "sky",
        "--out",
        out,
    )
    rule = Rule.load(out)
    assert rule.name == "trees"
    assert (result["copies"], result["places"]) == (len(rule.copy), len(rule.context))
    assert rule.effect == {"from": ["dome", "spire"], "to": "tree"}
    assert rule.protect
    assert np.all([region.mask.size == (64, 64) for region in rule.context])


def test_the_units_of_a_concept_are_protected_by_its_name(written, tmp_path, answer, refusal):
    base = ("rule", "towers", "--copy", "tree", "--context", "dome", "--seeds", "0-9", "--layer", LAYER)
    dissection = ("--dissection", written / "units.safetensors")
    answer(*base, "--protect-units", "cloud,door,63", *dissection, "--out", tmp_path / "rule.json")
    scores = load_dissections(written / "units.safetensors")[LAYER].scores
    sure = scores.detects() & scores.beyond_chance()
    wanted = {unit for unit in np.flatnonzero(sure) if scores.concepts.names[scores.best[unit]] in ("cloud", "door")}
    assert len(wanted) > 1
    assert Rule.load(tmp_path / "rule.json").protect_units == tuple(sorted({*wanted, 63}))
    elsewhere = (*base[:-1], "b8.conv1", "--protect-units", "door", "--out", tmp_path / "no.json")
    assert "name a file with --dissection" in refusal(*elsewhere)
    other = (*base[:-1], "b16.conv1", "--protect-units", "door", *dissection, "--out", tmp_path / "no.json")
    assert "no dissection of layer b16.conv1" in refusal(*other)
    assert not (tmp_path / "no.json").exists()


def test_units_of_a_concept_are_known_without_a_file_where_a_dissection_comes_with_the_model(tmp_path, answer):
    base = ("rule", "towers", "--copy", "tree", "--context", "dome", "--seeds", "0-9", "--layer", LAYER)
    answer(*base, "--protect-units", "door", "--out", tmp_path / "rule.json")
    assert Rule.load(tmp_path / "rule.json").protect_units == units_of(load_dissections("towers")[LAYER], "door")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--layer", "b32.conv9"), "no layer 'b32.conv9'"),
        (("--layer", LAYER, "--samples", "1"), "two images or more"),
        (("--layer", LAYER, "--tail", "1.5"), "between 0 and 1"),
        (("--layer", LAYER, "--segmenter", "nothing.safetensors"), "nothing.safetensors"),
        (("--layer", LAYER, "--first-seed", "-5"), "seed"),
        (("--layer", LAYER, "--workers", "0"), "at least one worker"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(arguments, text, tmp_path, refusal):
    out = tmp_path / "out"
    base = ["units", "towers", "--samples", "8", "--level-samples", "4", *arguments, "--out", out]
    assert text in refusal(*base)
    assert not out.exists() or not list(out.iterdir())


def test_counts_of_another_run_in_the_folder_are_kept(written, refusal):
    content = (written / "units.safetensors").read_bytes()
    said = refusal("units", "towers", "--layer", LAYER, "--samples", "70", "--level-samples", "17", "--out", written)
    assert "another run" in said
    assert (written / "units.safetensors").read_bytes() == content
