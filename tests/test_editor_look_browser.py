"""How the page looks, in a real browser: axe finds nothing on any tab, and nothing is cut off on any screen."""

from pathlib import Path

import pytest

from tests.editors import needs_chromium
from tests.pages import TABS

pytestmark = needs_chromium
FOUND = """async (how) => (await axe.run(document, {resultTypes: ['violations'], ...how})).violations.flatMap(
  (each) => each.nodes.map((node) => `${each.id}: ${node.html.slice(0, 120)}`))"""
# What a dark page could do wrong that a light one does not.
COLOURS = {"runOnly": ["color-contrast"]}
# Where the tab that is open begins and ends, and how wide the page is.
EDGES = """() => {
  const panel = [...document.querySelectorAll('[role=tabpanel]')].find((each) => each.offsetParent);
  const { left, right } = panel.getBoundingClientRect();
  return [Math.round(left), Math.round(right), document.documentElement.scrollWidth];
}"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core."""
    found = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    return (Path(found.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def test_axe_finds_nothing_on_any_tab_light_or_dark(open_page, axe):
    page = open_page(color_scheme="light")
    page.evaluate(axe)
    for scheme, how in (("light", {}), ("dark", COLOURS)):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_selector(f"body{'.dark' if scheme == 'dark' else ':not(.dark)'}")
        for tab in TABS:
            page.click(f"role=tab[name='{tab}']")
            page.wait_for_timeout(700)  # for what comes from the server, and for colours that change slowly
            assert page.evaluate(FOUND, how) == [], (scheme, tab)


def test_every_tab_is_in_sight_and_as_wide_as_the_others_and_none_scrolls_sideways(open_page):
    page = open_page()
    for width, least in ((420, 340), (2560, 1700)):
        page.set_viewport_size({"width": width, "height": 900})
        assert [tab for tab in TABS if not page.is_visible(f"role=tab[name='{tab}']")] == []
        edges = {}
        for tab in TABS:
            page.click(f"role=tab[name='{tab}']")
            page.wait_for_selector(f"role=tab[name='{tab}'][selected]")
            edges[tab] = tuple(page.evaluate(EDGES))
        left, right, scrolled = edges["Rewrite"]
        assert set(edges.values()) == {(left, right, width)}, edges
        assert scrolled == width
        assert right - left > least
    page.click("role=tab[name='Rewrite']")
    sheet, rules = page.locator("#wall .sheet").bounding_box(), page.locator("#rules").bounding_box()
    assert abs(sheet["x"] - (2560 - rules["x"] - rules["width"])) < 30
    assert sheet["width"] > 1000
