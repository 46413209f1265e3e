"""Painting with units and switching them off in the editor, in a real browser."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from dissect.causes.painting import Painting
from tests.editors import TILES, needs_chromium
from tests.pages import tab

pytestmark = needs_chromium


@pytest.fixture
def page(open_page) -> Page:
    return open_page()


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


def test_a_tree_is_painted_taken_back_and_removed_from_the_history(page):
    tab(page, "Paint")
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
    content = got.value.path().read_bytes()
    saved = Painting.from_json(content.decode())
    assert [(stroke.concept, stroke.action) for stroke in saved.strokes] == [("tree", "add")]
    page.click("#easel button:text-is('Clear')")
    assert np.array_equal(strokes(page, 0, 7), plain)
    page.fill("#paint-seed input", "8")
    page.press("#paint-seed input", "Enter")
    page.wait_for_selector("#easel .seed:text-is('seed 8')")
    with page.expect_file_chooser() as chooser:
        page.click("#paint-load")
    chooser.value.set_files({"name": "strokes.json", "mimeType": "application/json", "buffer": content})
    page.wait_for_selector("#easel .seed:text-is('seed 3')")
    assert np.array_equal(strokes(page, 1, 7), tree)
    assert page.get_attribute("#easel .concepts button:text-is('tree')", "aria-pressed") == "true"


def test_two_units_are_ticked_and_kept_off(page):
    tab(page, "Units")
    page.wait_for_selector("#units .units[data-ready='1']:visible")
    page.mouse.wheel(0, 600)
    page.wait_for_function(
        "() => scrollY > 300 && document.querySelector('#units .sheet').getBoundingClientRect().top === 0"
    )
    page.mouse.wheel(0, -600)
    page.fill("#units input[type=search]", "tree")
    visible = int(page.get_attribute("#units .units", "data-visible"))
    assert 0 < visible < 96
    concepts = page.locator("#units .unit .name").all_inner_texts()
    assert all("tree" in text for text in concepts)
    page.wait_for_selector("#units .units[data-lit='96']")
    assert page.locator("#units .strip img:visible").count() == visible
    for number in (1, 2):
        page.click(f"#units .unit:nth-child({number})")
    page.wait_for_selector(f"#units .units[data-edited='{TILES}'][data-done='2']")
    page.wait_for_selector("#units >> text=2 units are off")
    page.click("#units-keep")
    page.wait_for_selector("#units >> text=are off for good")
    assert "demodulation" not in page.inner_text("#units [role=status]")
    off = page.get_attribute("#units .tile img", "src")
    tab(page, "Rewrite")
    page.wait_for_selector("#rules .rules[data-rules='1']")
    page.wait_for_selector(f"#wall .wall[data-edited='{TILES}']")
    page.click("#rules input[type=checkbox]")
    page.wait_for_selector("#wall .wall[data-edited='0']")
    tab(page, "Units")
    page.wait_for_function("off => document.querySelector('#units .tile img').src !== off", arg=off)
    tab(page, "Rewrite")
    page.click("#rules input[type=checkbox]")
    page.wait_for_selector(f"#wall .wall[data-edited='{TILES}']")
    tab(page, "Paint")
    page.wait_for_selector("#paint-edited:visible")
    edited = page.get_attribute("#easel .frame img:first-child", "src")
    page.uncheck("#paint-edited input")
    page.wait_for_function("before => document.querySelector('#easel .frame img').src !== before", arg=edited)
    page.check("#paint-edited input")
    page.wait_for_function("before => document.querySelector('#easel .frame img').src === before", arg=edited)


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
    page.wait_for_selector("#units-status >> text=/Stopped. On 16 images/")
    page.select_option("#units select", "effect")
    texts = page.locator("#units .effect").all_inner_texts()
    assert len(texts) == 64
    assert all(text.endswith("% door") for text in texts)
    gone = [-float(text.replace("−", "-").split("Off:")[1].strip("≈ ").split(" ")[0]) for text in texts]
    assert gone == sorted(gone, reverse=True)
    assert gone[0] > 5
