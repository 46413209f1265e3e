"""A forecast says first what is expected where nobody marked, and shows nothing but numbers and sentences."""

import math

import pytest

from rewrite.reports.forecast import TOO_FEW, at_marks, lines_of, notes_of, summary_of, unmarked

DRAWN = {"arrives": 0.25, "strays": 0.05, "each": [0.1, 0.5]}
LEFT_OUT = {"arrives": 0.3, "beside": 0.1, "each": [0.2, 0.4, 0.3]}
MARKS = {"residual": 0.4, "damage": 0.1, "drift": 1.0, "interference": {"others": 0.2, "protected": 0.0}}


def test_what_is_seen_in_the_image_comes_before_what_the_layer_says():
    found = unmarked({"left_out": {**LEFT_OUT, "drawn": DRAWN}})
    names = ["arrives in the image", "strays in the image", "arrives at the layer", "beside at the layer"]
    assert [each.name for each in found] == names
    assert [each.value for each in found] == [0.25, 0.05, 0.3, 0.1]
    assert [each.ends for each in found] == [(0.1, 0.5), None, (0.2, 0.4), None]
    seen = unmarked({"left_out": {**LEFT_OUT, "drawn": {**DRAWN, "moves": 0.04}}, "descent": {"missed": [0.5, 0.25]}})
    names = ["arrives in the image", "strays in the image", "moves in the image", "beside at the layer"]
    assert [each.name for each in seen] == names


def test_the_fit_is_told_with_every_place_that_was_to_stay():
    found = {each.name: each.value for each in at_marks(MARKS)}
    expected = {"residual": 0.4, "damage": 0.1, "drift": 1.0, "interference others": 0.2, "interference protected": 0.0}
    assert found == expected


def test_what_was_finished_in_the_image_is_told_by_the_image_and_not_by_what_was_wanted_at_the_layer():
    first, *others = at_marks({**MARKS, "finish": {"missed": [0.5, 0.25]}})
    assert (first.name, first.value) == ("missed in the image", 0.25)
    assert "0.500 before the finish" in first.meaning
    assert "0.500 before the descent" in at_marks({**MARKS, "descent": {"missed": [0.5, 0.25]}})[0].meaning
    assert "residual" not in [each.name for each in others]
    assert "residual" in [each.name for each in at_marks({**MARKS, "finish": {"missed": ["a", math.nan]}})]


def test_that_no_image_could_be_left_out_is_said_and_not_where_nobody_tried():
    assert notes_of({"left_out": None, "notes": ["mind this"]}) == [TOO_FEW, "mind this"]
    assert notes_of(MARKS) == []


def test_lines_follow_the_same_order():
    first, second, third = lines_of({**MARKS, "left_out": LEFT_OUT, "notes": ["mind this"]})
    assert first.startswith("forecast at places that were not marked: arrives at the layer 0.300 (0.200 to 0.400)")
    assert second.startswith("forecast by what was solved for: residual 0.400, damage 0.100")
    assert third == "note: mind this"
    assert lines_of({}) == []


@pytest.mark.parametrize("value", ["text", True, math.nan, math.inf, 10**400, [1], None, ["a", 2]], ids=str)
def test_what_is_no_number_or_sentence_is_not_shown(value):
    anything = dict.fromkeys(("residual", "interference", "left_out", "notes", "arrives", "each", "drawn"), value)
    for forecast in (anything, {"left_out": anything}, {"left_out": {"drawn": anything}}):
        found = summary_of(forecast)
        assert found.unmarked == found.marks == []
        assert all(isinstance(note, str) for note in found.notes)
