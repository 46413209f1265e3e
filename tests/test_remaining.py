"""The time that work is going to take, told from how far it is."""

from apps.editor.remaining import Remaining


def test_the_time_that_is_left_is_told_once_it_is_known_and_anew_where_work_begins_anew():
    now = [0.0]
    left = Remaining(lambda: now[0])
    assert left.after("Counting", 0.0) == "Counting"
    now[0] = 10
    assert left.after("Counting", 0.25) == "Counting, about 30 s left"
    assert left.said(1.0) == ""
    assert left.said(0.0) == ""
    now[0] = 310
    assert left.said(0.5) == "about 5 min left"


def test_work_that_goes_on_from_the_middle_is_told_by_what_was_done_since():
    now = [0.0]
    left = Remaining(lambda: now[0])
    assert left.said(0.8) == ""
    now[0] = 4
    assert left.said(0.9) == "about 4 s left"
