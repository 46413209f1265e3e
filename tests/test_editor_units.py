"""Painting with units and switching them off in the editor, and what its pages may send."""

import numpy as np
import pytest
import torch

from apps.editor import removals as measured
from apps.editor.data_urls import urls
from apps.editor.easel import read_strokes
from apps.editor.models import Models
from apps.editor.options import Options
from apps.editor.paint_tab import PaintTab
from apps.editor.paintings import Paintings
from apps.editor.removals import Removals
from apps.editor.session import Session
from apps.editor.unit_grid import read_ticked
from apps.editor.units import dissection
from apps.editor.units_tab import UnitsState, UnitsTab, figures
from apps.editor.work import Stopped
from dissect.causes.experiment import Experiment, measure_removals
from dissect.causes.intervention import Intervention, Prefix
from dissect.causes.painting import Painting, painted, prefix_of
from rewrite import load_generator
from tests.editors import built

LAYER = "b16.conv1"
STROKE = {"do": "stroke", "runs": [[1000, 20]], "concept": "tree", "action": "add", "strength": 1, "count": 15}


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(Models(Options("towers", tiles=4, segmenter="none")))


@pytest.fixture(scope="module")
def paint(session) -> PaintTab:
    return built(PaintTab, session.models)


@pytest.fixture(scope="module")
def units(session) -> UnitsTab:
    return built(UnitsTab, session.models)


def requests(*each: dict) -> dict:
    return {"requests": [{"turn": number + 1, **request} for number, request in enumerate(each)]}


def test_strokes_are_painted_once_and_in_their_order(session, paint):
    session.paintings = Paintings()

    def brush(document: dict) -> dict:
        return paint.on_strokes(session, document)[paint.easel]

    shown = brush(requests(STROKE, {**STROKE, "action": "remove"}))
    assert shown["history"] == ["Add tree, 15 units", "Remove tree, 15 units"]
    again = brush(requests(STROKE, {**STROKE, "action": "remove"}, {"do": "remove", "index": 0}))
    assert again["history"] == ["Remove tree, 15 units"]
    assert brush(requests({"do": "undo", "turn": 4}))["history"] == shown["history"]
    file = brush(requests({"do": "save", "turn": 5}))["file"]
    assert Painting.from_json(file["text"]).strokes == session.paintings.painting(session.model).strokes


def test_the_edited_model_is_painted_on_unless_somebody_chooses_otherwise(session, paint, units):
    session.paintings, document = Paintings(), {"layer": LAYER, "ticked": list(range(40)), "turn": 1}
    plain = paint.on_strokes(session, requests(STROKE))[paint.easel]
    units.on_keep_off(session, document, 0)
    generator, painting = load_generator(), session.paintings.painting(session.model)
    with session.rules.held[0][0].applied(generator):
        prefix = prefix_of(generator, painting)
        wanted = urls(torch.cat([prefix.images(), painted(prefix, painting, dissection(session.model, LAYER))]))
    shown = paint.on_select(session)
    assert [shown[paint.easel]["before"], shown[paint.easel]["image"]] == wanted
    assert shown[paint.edited]["visible"]
    without = paint.on_edited(session, False)[paint.easel]
    assert (without["before"], without["image"]) == (plain["before"], plain["image"])
    session.rules.undo()
    assert not paint.on_select(session)[paint.edited]["visible"]


@pytest.mark.parametrize(
    "changes",
    [
        {"do": "burn"},
        {"do": None},
        {"turn": 0},
        {"turn": True},
        {"turn": 2**40},
        {"runs": None},
        {"runs": [[0, 5000]]},
        {"runs": [[0, 1]] * 40_000},
        {"runs": [[True, 2]]},
        {"runs": []},
        {"concept": 7},
        {"concept": ""},
        {"concept": "x" * 300},
        {"action": "burn"},
        {"strength": float("nan")},
        {"strength": 10**400},
        {"strength": True},
        {"count": 0},
        {"count": 1.5},
        {"index": "0"},
    ],
    ids=str,
)
def test_hostile_strokes_are_refused_in_a_sentence(changes):
    with pytest.raises(ValueError, match=r"\w") as caught:
        read_strokes(requests({**STROKE, **changes}), 0, 64)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "document",
    [
        7,
        {},
        {"layer": 1, "ticked": []},
        {"layer": "l", "ticked": ["1"]},
        {"layer": "l", "ticked": [1, 1]},
        {"layer": "l", "ticked": list(range(9999))},
        {"layer": "l", "ticked": [1], "turn": "2"},
    ],
    ids=lambda document: str(document)[:40],
)
def test_hostile_ticks_are_refused_in_a_sentence(document):
    with pytest.raises(ValueError, match=r"the grid of units|a unit is ticked once"):
        read_ticked(document)


def test_ticked_units_go_off_and_are_kept_off_by_a_patch(session, units):
    document = {"layer": LAYER, "ticked": [3, 17], "turn": 1}
    shown = units.on_ticks(session, document)[units.grid]
    assert all(tile["after"] and tile["after"] != tile["image"] for tile in shown["tiles"])
    wanted = Prefix.of(load_generator(), LAYER, session.draft.seeds).images(Intervention.off([3, 17]))
    units.on_keep_off(session, document, 0)
    assert np.allclose(session.after(), wanted, atol=1e-5)
    with pytest.raises(ValueError, match="tick at least one"):
        units.on_keep_off(session, {"layer": LAYER, "ticked": []}, 0)
    with pytest.raises(ValueError, match="units 0 to 95"):
        units.on_keep_off(session, {"layer": LAYER, "ticked": [4000]}, 0)
    with pytest.raises(LookupError, match="no dissection of layer"):
        units.on_ticks(session, {"layer": "b99", "ticked": [1]})
    session.rules.undo()


@pytest.fixture
def few(monkeypatch):
    """Fewer images and units than people get."""
    monkeypatch.setattr(measured, "IMAGES", 4)
    monkeypatch.setattr(measured, "MOST_EXACT", 8)
    monkeypatch.setattr(measured, "UNITS", 4)


@pytest.fixture
def models() -> Models:
    return Models(Options("towers", tiles=2, segmenter="towers"))


def test_effects_are_estimated_first_and_then_measured_where_they_promise_most(few, models):
    session = Session(models)
    known = Removals.of(session.model, LAYER)
    wanted = known.wanted("tree")
    steps = known.measuring(session.begin(), wanted)
    assert known.explanation == ""
    next(step for step in steps if step.news)
    estimates = [figure["share"] for figure in known.figures(wanted)]
    assert all(figure["low"] is None for figure in known.figures(wanted))
    assert list(steps)[-1].share == 1
    exact = {unit for unit, figure in enumerate(known.figures(wanted)) if figure["low"] is not None}
    assert exact == set(np.argsort(estimates)[-8:])
    assert "exact for the 8 units that promise most" in known.explanation
    best = int(np.argmax(estimates))
    experiment = Experiment(load_generator(), LAYER, models.first.source)
    found = measure_removals(experiment, range(4), [best]).ratio[0, wanted[best]]
    figure = known.figures(wanted)[best]
    assert [figure[end] for end in ("share", "low", "high")] == pytest.approx(list(found.document().values()), abs=1e-4)


def test_stopped_effects_are_kept_for_all_sessions_and_gone_on_with(few, models):
    first, second = Session(models), Session(models)
    known = Removals.of(first.model, LAYER)
    wanted = known.wanted("tree")
    steps = known.measuring(first.begin(), wanted)
    while len(known.sums) < 4:
        next(steps)
    first.stop()
    with pytest.raises(Stopped):
        list(steps)
    begun = {unit: sums.sums for unit, sums in known.sums.items()}
    assert len(begun) == 4
    assert sum(figure["low"] is not None for figure in figures(second, UnitsState(LAYER, "tree"))) == 4
    list(Removals.of(second.model, LAYER).measuring(second.begin(), wanted))
    assert len(known.sums) == 8
    assert all(known.sums[unit].sums is sums for unit, sums in begun.items())


def test_without_names_of_pixels_there_are_lit_images_and_no_effects(session, units):
    state = UnitsState(LAYER)
    *_, shown = units.on_select(session, state)
    assert len(set(shown[units.grid]["strips"])) == 96
    assert shown[units.status] == ""
    assert [set(shown[units.grid]) & {"strips", "tiles"} for shown in units.on_select(session, state)] == [{"tiles"}]
    with pytest.raises(ValueError, match="nothing names the pixels"):
        Removals.of(session.model, LAYER)
