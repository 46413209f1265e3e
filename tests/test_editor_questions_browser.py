"""A classifier is asked in a real browser: units are switched off, and what is lost is shown and kept."""

import pytest
from playwright.sync_api import Page

from rewrite import Patch
from tests.editors import needs_chromium
from tests.test_editor_look_browser import COLOURS, FOUND, axe  # noqa: F401

pytestmark = needs_chromium
BOARD = "#board .board"
DONE = f"""() => {{
  const board = document.querySelector("{BOARD}");
  return board.dataset.waiting === board.dataset.done && !board.classList.contains("waiting");
}}"""
RIGHTMOST = "Math.max(...[...document.querySelectorAll('#answer *')].map((each) => each.getBoundingClientRect().right))"


@pytest.fixture
def ask(open_page, digits_editor):
    def open_it(query: str = "", **how) -> Page:
        page = open_page(f"{digits_editor.url}{query}", ready=BOARD, **how)
        page.wait_for_selector("#answer .answer")
        return page

    return open_it


def answered(page: Page) -> str:
    """The answer in words, once it is there."""
    page.wait_for_function(DONE)
    return page.inner_text("#answer .said")


def test_units_go_off_by_clicks_and_the_address_asks_the_same_again(ask):
    page = ask()
    assert answered(page).endswith("of the 50 pictures are named right.")
    page.select_option(f"{BOARD} select.layer", "relu4")
    answered(page)
    page.select_option(f"{BOARD} select.class", "7")
    answered(page)
    page.click(f"{BOARD} button:text-is('4 that matter most')")
    text = answered(page)
    assert text.startswith("Without these 4 units")
    lost = int(page.get_attribute("#answer .answer", "data-lost"))
    assert lost > 10
    assert page.locator("#answer .lost .picture").count() == min(lost, 24)
    before = page.locator(f"{BOARD} .unit .own").first.get_attribute("src")
    page.click("#answer .lost .picture >> nth=1")
    answered(page)
    assert page.locator(f"{BOARD} .unit .own").first.get_attribute("src") != before
    page.click(f"{BOARD} button:text-is('Pick this picture')")
    assert answered(page).startswith("With all units on, the picture is named 7; without these 4 units, ")
    page.click(f"{BOARD} .chip:has-text('picked by hand')")
    answered(page)
    page.click(f"{BOARD} .unit:nth-child(1) .only")
    text = answered(page)
    again = ask(page.url[page.url.index("?") :])
    assert answered(again) == text
    assert again.inner_text("#answer .scores") == page.inner_text("#answer .scores")
    with page.expect_download() as got:
        page.click("#answer [data-do=patch]")
    patch = Patch.load(got.value.path())
    assert (patch.layer, patch.rank) == ("fc2", 4)
    with page.expect_download() as got:
        page.click("#answer [data-do=report]")
    assert text in got.value.path().read_text(encoding="utf-8")


def test_parts_of_a_class_are_found_and_asked_about(ask):
    page = ask("?layer=relu4&class=4&of=4")
    page.click(f"{BOARD} button:text-is('Find parts of this class')")
    page.wait_for_selector(f"{BOARD} button:has-text('that light unit')")
    page.click(f"{BOARD} button:has-text('that light unit') >> nth=0")
    assert answered(page).startswith("Without")
    assert page.locator(f"{BOARD} .chip:has-text('lights unit')").count() == 1


def test_a_bad_link_says_what_is_wrong_and_the_page_works(ask):
    page = ask("?layer=relu4&class=7&off=99")
    assert page.inner_text(f"{BOARD} .refused") == "part relu4 has units 0 to 31, got 99."
    page.click(f"{BOARD} .unit:nth-child(2) input")
    assert answered(page).startswith("Without unit")
    assert page.is_hidden(f"{BOARD} .refused")


def test_axe_finds_nothing_light_or_dark_and_nothing_is_cut_off(ask, axe):  # noqa: F811
    page = ask("?layer=relu2&class=7&off=3,5,12,20&of=7", color_scheme="light")
    page.evaluate(axe)
    for scheme, how in (("light", {}), ("dark", COLOURS)):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_selector(f"body{'.dark' if scheme == 'dark' else ':not(.dark)'}")
        page.wait_for_timeout(700)
        assert page.evaluate(FOUND, how) == [], scheme
    for width in (420, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(RIGHTMOST) <= width
