"""Painting with units and switching them off in the editor, as people do it; and what its pages may send."""

import base64
import io
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from apps.editor import removals as measured
from apps.editor.easel import read_strokes
from apps.editor.models import Models
from apps.editor.options import Options
from apps.editor.paint_tab import PaintState, PaintTab
from apps.editor.removals import Removals
from apps.editor.session import Session
from apps.editor.unit_grid import read_ticked
from apps.editor.units import dissection
from apps.editor.units_tab import UnitsState, UnitsTab, figures
from apps.editor.wall import urls
from apps.editor.work import Stopped
from dissect.causes.experiment import Experiment, measure_removals
from dissect.causes.intervention import Intervention, Prefix
from dissect.causes.painting import Painting, painted, prefix_of
from rewrite import load_generator
from tests.editors import Editor, built, running

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
PATIENCE = 120_000
LAYER = "b16.conv1"
STROKE = {"do": "stroke", "runs": [[1000, 20]], "concept": "tree", "action": "add", "strength": 1, "count": 15}
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")


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
    state = PaintState()

    def brush(document: dict) -> dict:
        return paint.on_strokes(session, state, document)[paint.easel]

    shown = brush(requests(STROKE, {**STROKE, "action": "remove"}))
    assert shown["history"] == ["Add tree, 15 units", "Remove tree, 15 units"]
    again = brush(requests(STROKE, {**STROKE, "action": "remove"}, {"do": "remove", "index": 0}))
    assert again["history"] == ["Remove tree, 15 units"]
    assert brush(requests({"do": "undo", "turn": 4}))["history"] == shown["history"]
    file = brush(requests({"do": "save", "turn": 5}))["file"]
    assert Painting.from_json(file["text"]).strokes == state.painting(session).strokes


def test_the_edited_model_is_painted_on_unless_somebody_chooses_otherwise(session, paint, units):
    state, document = PaintState(), {"layer": LAYER, "ticked": list(range(40)), "turn": 1}
    plain = paint.on_strokes(session, state, requests(STROKE))[paint.easel]
    units.on_keep_off(session, document, 0)
    generator, painting = load_generator(), state.painting(session)
    with session.rules.held[0][0].applied(generator):
        prefix = prefix_of(generator, painting)
        wanted = urls(torch.cat([prefix.images(), painted(prefix, painting, dissection(session.model, LAYER))]))
    shown = paint.on_select(session, state)
    assert [shown[paint.easel]["before"], shown[paint.easel]["image"]] == wanted
    assert shown[paint.edited]["visible"]
    without = paint.on_edited(session, state, False)[paint.easel]
    assert (without["before"], without["image"]) == (plain["before"], plain["image"])
    session.rules.undo()
    assert not paint.on_select(session, state)[paint.edited]["visible"]


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
    assert list(units.on_select(session, state)) == []
    with pytest.raises(ValueError, match="nothing names the pixels"):
        Removals.of(session.model, LAYER)


@pytest.fixture(scope="module")
def editor(tmp_path_factory) -> Iterator[Editor]:
    with running(tmp_path_factory.mktemp("units"), "towers", "--samples", 100, "--tiles", 4) as found:
        yield found


@pytest.fixture
def page(editor) -> Iterator:
    """The editor's page in a browser; at the end, nothing was wrong."""
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened = browser.new_page(viewport={"width": 1280, "height": 900}, accept_downloads=True)
        opened.set_default_timeout(PATIENCE)
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.goto(editor.url)
        opened.wait_for_selector("#wall .wall[data-ready='1']")
        yield opened
        browser.close()
    assert wrong == []


def tab(page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def dab(page, x: float, y: float) -> None:
    """One stroke of the mouse on the easel."""
    canvas = page.locator("#easel canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + (x + 0.04) * box["width"], box["y"] + (y - 0.04) * box["height"], steps=4)
    page.mouse.up()


def strokes(page, count: int, done: int) -> np.ndarray:
    """The image on the easel once it has so many strokes, after so many wishes."""
    page.wait_for_selector(f"#easel .easel[data-strokes='{count}'][data-done='{done}']")
    content = page.get_attribute("#easel .frame img:first-child", "src").partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")).astype(int)


@needs_chromium
def test_a_tree_is_painted_taken_back_and_removed_from_the_history(page, tmp_path):
    tab(page, "Paint with units")
    page.wait_for_selector("#easel .easel[data-ready='1']:visible")
    plain = strokes(page, 0, 0)
    page.click("#easel .concepts button:text-is('tree')")
    dab(page, 0.2, 0.65)
    tree = strokes(page, 1, 1)
    apart = np.abs(tree - plain).sum(axis=2)
    assert apart[32:52, 6:22].mean() > 5 * apart[:, 40:].mean()
    page.click("#easel button:text-is('Remove')")
    dab(page, 0.5, 0.4)
    strokes(page, 2, 2)
    page.keyboard.press("Control+z")
    assert np.array_equal(strokes(page, 1, 3), tree)
    page.keyboard.press("Control+y")
    strokes(page, 2, 4)
    page.click("#easel li:nth-child(2) .drop")
    assert np.array_equal(strokes(page, 1, 5), tree)
    with page.expect_download() as got:
        page.click("#easel button:text-is('Download')")
    with Image.open(got.value.path()) as picture:
        assert picture.size == (64, 64)
    with page.expect_download() as got:
        page.click("#easel button:text-is('Save strokes')")
    saved = Painting.from_json(got.value.path().read_text())
    assert [(stroke.concept, stroke.action) for stroke in saved.strokes] == [("tree", "add")]
    page.click("#easel button:text-is('Clear')")
    assert np.array_equal(strokes(page, 0, 7), plain)
    page.fill("#paint-seed input", "8")
    page.press("#paint-seed input", "Enter")
    page.wait_for_selector("#easel .seed:text-is('seed 8')")


@needs_chromium
def test_two_units_are_ticked_and_kept_off(page):
    tab(page, "Units")
    page.wait_for_selector("#units .units[data-ready='1']:visible")
    page.fill("#units input[type=search]", "tree")
    visible = int(page.get_attribute("#units .units", "data-visible"))
    assert 0 < visible < 96
    concepts = page.locator("#units .unit .name").all_inner_texts()
    assert all("tree" in text for text in concepts)
    page.wait_for_selector("#units .units[data-lit='96']")
    assert page.locator("#units .strip img:visible").count() == visible
    for number in (1, 2):
        page.click(f"#units .unit:nth-child({number})")
    page.wait_for_selector("#units .units[data-edited='4'][data-done='2']")
    page.wait_for_selector("#units >> text=2 units are off")
    page.click("#units-keep")
    page.wait_for_selector("#units >> text=are off for good")
    tab(page, "Rewrite a rule")
    page.wait_for_selector("#rules .rules[data-rules='1']")
    page.wait_for_selector("#wall .wall[data-edited='4']")
    tab(page, "Paint with units")
    page.wait_for_selector("#paint-edited:visible")
    edited = page.get_attribute("#easel .frame img:first-child", "src")
    page.uncheck("#paint-edited input")
    page.wait_for_function(
        "before => document.querySelector('#easel .frame img').src !== before", arg=edited, timeout=PATIENCE
    )
    page.check("#paint-edited input")
    page.wait_for_function(
        "before => document.querySelector('#easel .frame img').src === before", arg=edited, timeout=PATIENCE
    )


@needs_chromium
def test_effects_stand_on_every_unit_and_sort_them(page):
    tab(page, "Units")
    page.click("#units-layer input")
    page.click("role=option[name='b32.conv0']")
    page.wait_for_selector("#units .units[data-lit='64']")
    page.click("#units-concept input")
    page.click("role=option[name='door']")
    page.click("#units-measure")
    page.wait_for_selector("#units .units[data-weighed='64']")
    page.wait_for_selector("#units .units:not([data-exact='0'])")
    page.click("#units-stop")
    page.wait_for_selector("#units-told >> text=/Stopped. On 16 images/")
    page.select_option("#units select", "effect")
    texts = page.locator("#units .effect").all_inner_texts()
    assert len(texts) == 64
    assert all(text.endswith("% door") for text in texts)
    gone = [-float(text.replace("−", "-").split("Off:")[1].strip("≈ ").split(" ")[0]) for text in texts]
    assert gone == sorted(gone, reverse=True)
    assert gone[0] > 5
