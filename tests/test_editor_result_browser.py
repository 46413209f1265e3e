"""The result comes first, in a real browser: marks that fade, a tile that opens large, the wall as a picture."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page

from tests.editors import TILES, Tabs, needs_chromium
from tests.pages import EDITED, PRICE, brush, brush_all, rules

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def page(browser, small_editor) -> Iterator[Page]:
    """A page with one rule, for all of these tests: the marks of one do not matter to another."""
    with Tabs(browser) as tabs:
        page = tabs.open(small_editor.url)
        brush_all(page)
        page.wait_for_selector("#rewrite:enabled")
        page.click("#rewrite")
        page.wait_for_selector(EDITED)
        rules(page, 1)
        yield page


def opacity(page: Page) -> float:
    page.wait_for_timeout(400)
    return float(page.eval_on_selector("#wall .tile canvas", "each => getComputedStyle(each).opacity"))


def test_marks_fade_once_there_is_a_result_and_a_key_or_a_stroke_shows_them(page):
    page.wait_for_selector("#wall .wall.faded")
    assert opacity(page) == 0
    page.keyboard.press("m")
    assert opacity(page) == 1
    page.keyboard.press("m")
    assert opacity(page) == 0
    brush(page, 5, 0.5, 0.5)
    assert opacity(page) == 1
    page.wait_for_selector("#rewrite:enabled")
    page.click("#rewrite")
    page.wait_for_selector("#wall .wall.faded")


def test_a_tile_opens_large_with_a_line_that_is_drawn_between_before_and_after(page):
    page.locator("#wall .tile[data-seed='2']").hover()
    page.click("role=button[name='Open seed 2 large']")
    stage = page.locator("#wall .closeup .stage")
    box = stage.bounding_box()
    assert box["width"] > 2 * page.locator("#wall .tile[data-seed='2']").bounding_box()["width"]
    assert stage.locator("img").evaluate_all("all => new Set(all.map((each) => each.src)).size") == 2
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 60, steps=5)
    page.mouse.up()
    cut = "each => getComputedStyle(each).clipPath"
    assert page.eval_on_selector("#wall .closeup .edited", cut) == "inset(0px 0px 0px 25%)"
    page.click("#wall .closeup >> text=Side by side")
    first, second = (stage.locator("img").nth(index).bounding_box() for index in (0, 1))
    assert first["x"] + first["width"] <= second["x"]
    page.keyboard.press("Escape")
    page.wait_for_selector("#wall .closeup", state="hidden")
    assert "no marks" in page.get_attribute("#wall .tile[data-seed='2']", "aria-label")


def test_the_wall_downloads_as_a_picture_of_before_and_after(page, tmp_path):
    with page.expect_download() as download:
        page.click("#wall >> role=button[name='Download the wall as PNG']")
    download.value.save_as(tmp_path / "wall.png")
    with Image.open(BytesIO(Path(tmp_path / "wall.png").read_bytes())) as picture:
        columns, rows = 4, TILES // 4
        assert picture.size == (2 * (columns * 132 + 8) - 4, rows * 132 + 4)
        before, after = (picture.convert("RGB").crop((x, 4, x + 128, 132)) for x in (4, 4 + 132 * columns + 8))
    assert before.tobytes() != after.tobytes()


def test_the_wall_downloads_as_an_animation_of_before_and_after(page, tmp_path):
    with page.expect_download() as download:
        page.click("#wall >> role=button[name='Download the wall as an animation']")
    assert download.value.suggested_filename == "wall.webp"
    download.value.save_as(tmp_path / "wall.webp")
    with Image.open(tmp_path / "wall.webp") as film:
        assert film.n_frames > 20


def test_strength_stands_beside_the_wall_and_the_price_is_a_sentence_whose_figures_stay_open(page):
    strength, tiles = (
        page.locator("#rules input[type=range]").first.bounding_box(),
        page.locator("#wall .sheet").bounding_box(),
    )
    assert strength["x"] > tiles["x"] + tiles["width"]
    assert strength["y"] + strength["height"] < page.viewport_size["height"]
    page.wait_for_selector(f"{PRICE} >> text=of all other pixels would change their colour")
    assert page.is_hidden(f"{PRICE} >> text=Drift")
    page.click(f"{PRICE} summary")
    assert page.is_visible(f"{PRICE} >> text=Drift")
    page.wait_for_selector(f"{PRICE} svg circle.chosen")
    page.keyboard.press("3")
    brush(page, 5, 0.8, 0.4)
    page.wait_for_selector(f"{PRICE} >> text=Drift", state="visible")
