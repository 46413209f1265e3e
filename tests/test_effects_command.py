"""`rewrite effects`: what it writes, refuses and takes up again."""

import csv
import io
import json
import re

import pytest
from PIL import Image

from apps.cli import main
from dissect.causes.cause_page import cause_page
from dissect.causes.causes import FIRST_VALIDATION
from dissect.causes.experiment import Contrast, Experiment, measure_contrasts
from dissect.sources.towers import SegmenterSource
from dissect.units.counting import dissect
from dissect.units.dissection import save_dissections
from dissect.units.probe import GeneratorProbe
from rewrite import load_generator
from rewrite.storage import ledger
from tests.markup import HOSTILE, assert_shown_as_text, renamed

LAYER = "b8.conv1"
SMALL = ("--samples", "6", "--training", "8", "--screen", "3", "--steps", "2", "--positions", "3", "--units", "4,1")


@pytest.fixture(scope="module")
def command(files):
    """A random generator with five units in this layer; the segmenter of towers sees roofs in all of its images."""
    return ("effects", str(files["model"]), "--layer", LAYER, "--concepts", "roof", *SMALL)


@pytest.fixture(scope="module")
def dissection(tmp_path_factory, files):
    path = tmp_path_factory.mktemp("units") / "units.safetensors"
    probe = GeneratorProbe(load_generator(files["model"]), [LAYER], SegmenterSource())
    save_dissections(path, dissect(probe, 8, level_samples=8))
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory, command, dissection):
    out = tmp_path_factory.mktemp("effects")
    assert main([*command, "--dissection", str(dissection), "--out", str(out)]) == 0
    return out


def test_the_tables_hold_what_the_document_holds(written):
    found = json.loads((written / "effects.json").read_text())["concepts"][0]
    assert set(found["curves"]) == {"effect", "IoU", "search", "given"}
    assert found["curves"]["given"]["units"] == [4, 1]
    curves = list(csv.DictReader(io.StringIO((written / "curves.csv").read_text())))
    assert len(curves) == sum(len(curve["points"]) for curve in found["curves"].values())
    units = list(csv.DictReader(io.StringIO((written / "effects.csv").read_text())))
    assert [row["unit"] for row in units] == [str(unit) for unit in range(5)]
    assert sum(row["removed"] != "" for row in units) == 3
    assert all(row["iou"] and row["share"] and row["estimate"] for row in units)


def test_a_curve_is_measured_on_images_that_no_ranking_saw(written, files):
    found = json.loads((written / "effects.json").read_text())["concepts"][0]
    point = found["curves"]["given"]["points"][-1]
    experiment = Experiment(load_generator(files["model"]), LAYER, SegmenterSource())
    seeds = range(FIRST_VALIDATION, FIRST_VALIDATION + 6)
    roof = experiment.source.concepts.number("roof")
    wanted = measure_contrasts(experiment, [Contrast.removal([4, 1])], seeds).ratio[0, roof]
    assert point["removed"] == pytest.approx(wanted.document())


def test_the_page_needs_nothing_from_outside(written):
    page = (written / "effects.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert page.count("<svg") >= 2
    assert "data:image/png" in page


def test_names_from_outside_are_text_on_the_page(written):
    document = json.loads((written / "effects.json").read_text())
    document = renamed(document, "roof", LAYER, document["identity"]["source"])
    assert_shown_as_text(cause_page(document, {HOSTILE: Image.new("RGB", (8, 8))}, HOSTILE))


def test_a_run_that_was_interrupted_goes_on_and_ends_as_an_undisturbed_one(
    written, command, dissection, tmp_path, monkeypatch
):
    once = ledger.Ledger.once
    monkeypatch.setattr(ledger.Ledger, "once", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    again = [*command, "--dissection", str(dissection), "--out", str(tmp_path)]
    assert main(again) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["effects.safetensors"]
    monkeypatch.setattr(ledger.Ledger, "once", once)
    assert main(again) == 0
    for path in written.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (("--layer", "b8.conv9"), "no layer 'b8.conv9'"),
        (("--concepts", "rof"), "did you mean roof"),
        (("--concepts", " , "), "at least one concept"),
        (("--units", "3,5"), "units 0 to 4, got 5"),
        (("--units", "dome"), "--dissection"),
        (("--samples", "1"), "samples must be at least 2"),
        (("--dissection", "nothing.safetensors"), "nothing.safetensors"),
        (("--side", "40"), "between 1 and 8"),
        (("--positions", "2000"), "1 to 64 positions"),
        (("--screen", "0"), "at least 1"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(changes, text, command, tmp_path, refusal):
    assert text in refusal(*command, *changes, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dissection_of_something_else_is_refused(dissection, command, tmp_path, refusal):
    other = (*command, "--layer", "b8.conv0")
    said = refusal(*other, "--dissection", dissection, "--out", tmp_path)
    assert "no dissection of layer b8.conv0" in said
    truncated = (*command, "--truncation", "0.5", "--dissection", dissection, "--out", tmp_path)
    assert "another truncation" in refusal(*truncated)


def test_sums_of_another_run_in_the_folder_are_kept(written, command, refusal):
    content = (written / "effects.safetensors").read_bytes()
    assert "another run" in refusal(*command, "--out", written)
    assert (written / "effects.safetensors").read_bytes() == content
