"""The notebooks do what they show: their cells run one after the other, as the library is now."""

import json
import re
from pathlib import Path

import pytest

import rewrite

NOTEBOOKS = sorted((Path(rewrite.__file__).parent.parent / "notebooks").glob("*.ipynb"))
# What takes time and changes no name: numbers of images, and of steps.
FEWER = {
    r"range\(1000, \d+\)": "range(1000, 1004)",
    r"samples=\d+": "samples=32",
    r"proposals\[:8\]": "proposals[:1]",
    r"measure\(generator, rule\.layer\)": "measure(generator, rule.layer, samples=32)",
    r"propose_contexts\(generator, rule\)": "propose_contexts(generator, rule, seeds=range(10_000, 10_032))",
    r"Settings\.from_marks\(\),\n\)": "Settings.from_marks(),\n).with_settings(refine=1, finish=1, descent=1)",
}


def cells(path: Path) -> list[dict]:
    return [each for each in json.loads(path.read_text(encoding="utf-8"))["cells"] if each["cell_type"] == "code"]


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} == {"rewrite-a-rule", "dissect-and-ask"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_cells_of_a_notebook_run_in_order(path, tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    known: dict = {}
    for number, cell in enumerate(cells(path)):
        code = "".join(cell["source"])
        for long, short in FEWER.items():
            code = re.sub(long, short, code)
        exec(compile(code, f"{path.name}, cell {number}", "exec"), known)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_run_from_its_first_cell_to_its_last_without_an_error(path):
    code = cells(path)
    assert [each["execution_count"] for each in code] == list(range(1, len(code) + 1))
    assert not [out for each in code for out in each["outputs"] if out["output_type"] == "error"]
