"""Exports of a session: files of any name, none outside of the folder, all or none of them."""

import re

import pytest
import torch

from apps.editor.exports import Export, names_of, slug
from apps.editor.work import Stopped
from rewrite import load_generator
from tests.editing import WHOLE, rewrite


def test_an_export_opens_again_with_the_same_images(session, tmp_path):
    session.set_marks(WHOLE)
    rewrite(session)
    session.rules.strengthen(0, 0.6)
    export = Export.of(
        session, tmp_path / "out", tmp_path / "private", "trees", ["checkpoint", "patch", "rule", "card"]
    )
    assert len(list(export.steps())) == 4
    assert sorted(path.name for path in export.written) == [
        "README.md",
        "trees-patch-1.safetensors",
        "trees-rule-1.json",
        "trees.safetensors",
    ]
    edited = load_generator(tmp_path / "out" / "trees" / "trees.safetensors")
    torch.testing.assert_close(edited.sample(session.draft.seeds), session.after(), atol=1e-5, rtol=0)


def test_an_export_says_beforehand_what_it_writes_and_what_it_replaces(session, tmp_path, monkeypatch):
    monkeypatch.setattr("apps.editor.work.BETWEEN_REPORTS", 1e-4)
    session.set_marks(WHOLE)
    rewrite(session)
    first = Export.of(session, tmp_path / "out", tmp_path / "private", "trees", ["card", "patch", "report"])
    assert first.replaced == []
    told = list(first.steps())
    assert any(re.search(r"Measuring on 100 new images: \d+ %", text) for text in told)
    planned = names_of(session.model.name, first.entries, "trees", first.kinds)
    assert sorted(path.name for path in first.written) == sorted(planned)
    again = Export.of(session, tmp_path / "out", tmp_path / "private", "trees", ["patch", "rule"])
    assert [path.name for path in again.replaced] == ["trees-patch-1.safetensors"]


@pytest.mark.parametrize(
    ("written", "name"),
    [("Trees on towers!", "Trees-on-towers"), ("  Bäume/neu ", "Baume-neu"), ("../up", "up"), ("東京", ""), (3, 3)],
)
def test_names_that_people_write_become_names_of_files(written, name):
    assert slug(written) == name


def test_a_stopped_export_writes_nothing(session, tmp_path):
    session.set_marks(WHOLE)
    rewrite(session)
    export = Export.of(session, tmp_path / "out", tmp_path / "private", "trees", ["checkpoint", "report"])
    steps = export.steps()
    next(steps)
    session.stop()
    with pytest.raises(Stopped):
        list(steps)
    assert not (tmp_path / "out").exists()


def test_an_export_takes_names_and_never_paths(session, tmp_path):
    session.set_marks(WHOLE)
    rewrite(session)
    for name in ("../up", "/etc/passwd", "a/b", "", ".hidden", "x" * 61, "na\nme", None, 3, ["a"]):
        with pytest.raises(ValueError, match="a name has letters"):
            Export.of(session, tmp_path, tmp_path, name, ["rule"])
