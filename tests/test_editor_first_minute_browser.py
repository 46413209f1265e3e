"""The first minute of a new user, in a real browser: an example at one press, and brushes that lead on."""

from tests.editors import needs_chromium
from tests.pages import CONTEXTS, DOME, EDITED, PLACE, brush, marks, rules

pytestmark = needs_chromium


def test_one_press_fills_in_marks_and_shows_trees_on_towers(open_page):
    page = open_page()
    page.click("#try")
    page.wait_for_selector("#wall .tile[aria-label*='Copy']")
    assert page.locator("#wall .tile[aria-label*='Context']").count() == 6
    page.wait_for_selector(EDITED, timeout=240_000)
    rules(page, 1)
    assert page.input_value("#rules input.name") == "trees on towers"
    page.wait_for_selector("#wall .wall.faded")
    # Another press puts nothing beside it.
    page.click("#try")
    page.wait_for_selector("#status >> text=Done")
    rules(page, 1)
    text = page.inner_text("body")
    assert [word for word in ("Drift", "directions", "b32.conv0", "usually reads") if word in text] == []


def test_copy_leads_on_to_paste_and_paste_to_context_on_other_images(open_page):
    page = open_page()
    brush(page, *DOME)
    brush(page, DOME[0], 0.5, 0.5)
    assert "marked: Copy" in marks(page, DOME[0])
    brush(page, *PLACE)
    for context in CONTEXTS:
        brush(page, *context)
    assert "marked: Copy" in marks(page, DOME[0])
    assert "marked: Paste" in marks(page, PLACE[0])
    assert ["marked: Context" in marks(page, context[0]) for context in CONTEXTS] == [True] * 3
    assert page.get_attribute("#wall .wall", "data-role") == "context"
    page.wait_for_selector("#rewrite:enabled")
