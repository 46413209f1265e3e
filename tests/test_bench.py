"""`rewrite bench`: what its ratios are, what it refuses, what it writes, and how it goes on."""

import json
import re
import sys
from collections.abc import Iterator

import pytest
import torch

from apps.bench import clock, edits, table, units
from apps.bench.lines import BYTES, Line, Pair, Row, SkippedError, ratio
from apps.bench.measured import Measured, measured
from apps.bench.peer import FILES, Peer
from apps.bench.subject import Subject
from apps.cli import main
from apps.parsers.bench import LINES

pytestmark = pytest.mark.usefixtures("cache")


def line(name: str, *pairs: Pair | Exception | type[BaseException], **about) -> Line:
    """A line whose rounds are made by hand; what is no round is raised."""

    def given(_: object) -> Iterator[Pair]:
        for pair in pairs:
            if not isinstance(pair, Pair):
                raise pair
            yield pair

    return Line(name, "our work", "another's work", given, **about)


HAND = (Pair(2.0, 4.0, {"images": 8}), Pair(3.0, 1.0, {"images": 10}), Pair(1.0, 10.0))


def test_a_row_is_the_median_and_the_range_of_the_rounds_own_ratios():
    document = Row(line("hand"), HAND).document()
    # Not the ratio of the medians, which is 2 to 4.
    assert (document["ratio"], document["least"], document["most"]) == (0.5, 0.1, 3.0)
    assert (document["our_median"], document["reference_median"], document["rounds"]) == (2.0, 4.0, 3)
    assert document["figures"] == {"images": 9}


@pytest.mark.parametrize("pair", [Pair(1.0, 0.0), Pair(float("nan"), 1.0), Pair(1.0, float("inf"))])
def test_there_is_no_ratio_to_what_the_clock_does_not_see(pair):
    with pytest.raises(ValueError, match="takes more than nothing"):
        ratio(pair)


def test_a_loop_is_scaled_up_from_its_first_step_and_some_more(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(clock.time, "process_time", lambda: now[0])

    def run(steps: int) -> None:
        now[0] += 5 + 0.25 * steps

    assert clock.scaled_up(run, 41, 2001) == pytest.approx(5 + 0.25 * 2001)


def test_a_loop_whose_first_step_was_held_up_is_timed_again_and_not_for_ever(monkeypatch):
    now, taken = [0.0], [9.0, 8.0, 5.25, 15.25]
    monkeypatch.setattr(clock.time, "process_time", lambda: now[0])

    def run(_: int) -> None:
        now[0] += taken.pop(0) if taken else 1

    assert clock.scaled_up(run, 41, 2001) == pytest.approx(5 + 0.25 * 2001)
    with pytest.raises(ValueError, match="41 steps take no longer than one here"):
        clock.scaled_up(run, 41, 2001)


def test_the_table_says_ratios_sizes_and_what_was_skipped(files):
    rows = [
        Row(line("hand"), HAND),
        Row(line("held", unit=BYTES), [Pair(3e6, 2e6)]),
        Row(line("none"), skipped="there is none"),
    ]
    document = table.document_of(Subject(str(files["model"])), rows)
    said = table.text(document).splitlines()
    assert said[3].split() == ["hand", "0.50", "0.10", "to", "3.00", "3", "2.00", "s", "4.00", "s"]
    assert said[4].split() == ["held", "1.50", "1.50", "to", "1.50", "1", "3.0", "MB", "2.0", "MB"]
    assert "none is skipped: there is none" in said
    page = table.page(document)
    assert page.count("<tr>") == 3
    assert "none is skipped: there is none" in page
    assert "src=" not in page


def test_the_names_that_the_parser_knows_are_those_of_the_table():
    assert tuple(table.LINES) == LINES


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "edits"], "argument --only: .*'edits'.*edit-given"),
        (
            ["--only", "again", "peer-edit"],
            "peer-edit is measured against released code: name its",
        ),
        (["--peer", "nowhere"], "there is no folder nowhere"),
        (["--peer", "."], r"\. is no checkout of rewriting, dissect, gandissect: these have rewrite/ganrewrite\.py, "),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(arguments, said, refusal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("apps.bench.subject.load_generator", None)
    assert re.match(f"rewrite: {said}", refusal("bench", *arguments, "--out", "out"))
    assert list(tmp_path.iterdir()) == []


def test_bench_says_and_writes_one_table_and_skips_what_makes_no_sense(files, tmp_path, answer, monkeypatch):
    for name, small in {"UNITS_QUICK": 4, "SIDE_QUICK": 32, "LABELS": 5}.items():
        monkeypatch.setattr(units, name, small)
    monkeypatch.setattr(edits, "TIMED_QUICK", 3)
    names = ("edit-given", "edit-tuning", "again", "statistics", "dissection", "effects", "editor")
    threads = torch.get_num_threads()
    result = answer("bench", files["model"], "--quick", "--only", *names, "--out", tmp_path)
    assert torch.get_num_threads() == threads
    assert [row["name"] for row in result["rows"]] == list(names)
    rows = {row["name"]: row for row in result["rows"]}
    assert [name for name, row in rows.items() if "skipped" in row] == ["edit-tuning", "effects"]
    for name, row in rows.items():
        if "skipped" not in row:
            assert 0 < row["least"] <= row["ratio"] <= row["most"], name
    assert rows["dissection"]["figures"] == {"same counts": 1}
    assert (result["machine"]["threads"], result["machine"]["torch"]) == (1, torch.__version__)
    written = json.loads((tmp_path / "bench.json").read_text())
    assert {"out": str(tmp_path), **written} == result
    assert str(rows["again"]["rounds"]) in (tmp_path / "bench.html").read_text()


def test_a_run_that_was_ended_goes_on_with_the_lines_that_are_left(files, tmp_path, capsys, answer, monkeypatch):
    first, second = line("first", HAND[0], rounds=(1, 1)), line("second", HAND[1], rounds=(1, 1))
    command = ["bench", str(files["model"]), "--out", str(tmp_path)]
    monkeypatch.setattr(table, "LINES", {"first": first, "second": line("second", KeyboardInterrupt)})
    assert main(command) == 130
    assert f"what was counted is in {tmp_path / 'measured.json'}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["measured.json"]

    # Measured anew, the first line would fail.
    monkeypatch.setattr(table, "LINES", {"first": line("first", KeyboardInterrupt), "second": second})
    assert [row["ratio"] for row in answer(*command)["rows"]] == [0.5, 3.0]
    assert main([*command, "--quick"]) == 2
    assert "was measured with other options or versions" in capsys.readouterr().err


def test_what_another_generators_layer_refuses_is_skipped_and_a_fault_is_not(files):
    subject, refused = Subject(str(files["model"])), ValueError("no such layer")
    assert measured([line("one", refused)], subject, Measured(None, {}))[0].skipped == "no such layer"
    subject.named = "towers"
    assert measured([line("one", SkippedError("not here"))], subject, Measured(None, {}))[0].skipped == "not here"
    with pytest.raises(ValueError, match="no such layer"):
        measured([line("one", refused)], subject, Measured(None, {}))


@pytest.mark.parametrize("kind", FILES)
def test_modules_of_a_checkout_are_imported_as_on_the_torch_of_their_day(tmp_path, kind):
    for file in FILES[kind]:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("import torch\n")
    package = FILES[kind][1].partition("/")[0]
    (tmp_path / package / "old.py").write_text(
        "import torch\nfrom statsmodels.stats.correlation_tools import cov_nearest\n"
        "values = torch.symeig(torch.eye(2).cuda(), eigenvectors=True)[0]\n"
    )
    (tmp_path / package / "older.py").write_text("import torch\ntorch.no_such_function()\n")
    peer, before = Peer.at(tmp_path), (sys.path.copy(), vars(torch).get("symeig"), torch.Tensor.cuda)
    assert peer.kind == kind
    with peer.modules(f"{package}.old", FILES[kind][0]) as (old, _):
        assert old.values.tolist() == [1, 1]
    with (
        pytest.raises(ValueError, match=r"cannot be imported on torch .*AttributeError.*no_such_function"),
        peer.modules(f"{package}.older"),
    ):
        pass
    assert (sys.path, vars(torch).get("symeig"), torch.Tensor.cuda) == before
    assert f"{package}.old" not in sys.modules
    assert not list(tmp_path.rglob("*.pyc"))
