"""Artifacts by brush in the editor, in a real browser: what is marked goes by units or by a rule."""

import pytest
from playwright.sync_api import Page

from tests.editors import TILES, needs_chromium

pytestmark = needs_chromium


@pytest.fixture
def page(open_page) -> Page:
    page = open_page()
    page.get_by_role("tab", name="Artifacts", exact=True).click()
    page.wait_for_selector("#bad .wall[data-ready='1']:visible")
    return page


def brush(page: Page, tile: int, top: float, left: float) -> None:
    """A stroke to the right on one image."""
    canvas = page.locator(f"#bad .tile:nth-child({tile}) canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + left * box["width"], box["y"] + top * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + (left + 0.1) * box["width"], box["y"] + top * box["height"], steps=3)
    page.mouse.up()


def test_what_is_marked_goes_by_units_or_by_a_rule_and_the_better_is_kept(page):
    page.click("#find-artifacts")
    page.wait_for_selector("text=brush over what looks wrong first")
    for tile in (1, 2):
        brush(page, tile, 0.5, 0.4)
    page.wait_for_selector("#artifacts-told >> text=Marked in 2 images")
    page.click("#find-artifacts")
    page.wait_for_selector("#artifacts-told >> text=/on the wall|No unit/")
    page.wait_for_selector("#bad-units .strip img:visible")
    unticked = page.locator("#bad-units .unit:not(.on) input")
    before = int(page.get_attribute("#bad-units .units", "data-ticked"))
    if unticked.count():
        unticked.first.click()
        page.wait_for_selector(f"#artifacts-told >> text=/{before + 1} units? (is|are) off/")
    page.wait_for_selector(f"#bad .wall[data-edited='{TILES}']")
    page.click("#compare-artifacts")
    page.wait_for_selector("#artifacts-told >> text=/On images that nobody marked/")
    ways = page.locator("#artifacts-way label")
    assert ways.count() == 2
    assert ways.first.locator("input").is_checked()
    page.click("#keep-artifacts")
    page.wait_for_selector("#artifacts-told >> text=Kept")
    page.get_by_role("tab", name="Rewrite", exact=True).click()
    page.wait_for_selector("#rules .rules[data-rules='1']")


def test_the_strangest_images_come_on_the_wall(page):
    plain = page.locator("#bad .seed").all_inner_texts()
    page.click("#strangest")
    page.wait_for_selector("#artifacts-told >> text=/least like drawn scenes/")
    page.wait_for_function(
        "seeds => [...document.querySelectorAll('#bad .seed')].map(x => x.innerText).join() !== seeds",
        arg=",".join(plain),
    )
    assert len(page.locator("#bad .seed").all_inner_texts()) == TILES
