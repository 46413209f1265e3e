"""How the page looks, in a real browser: axe finds nothing on any tab, and nothing is cut off on any screen."""

from pathlib import Path

import pytest

from tests.editors import needs_chromium
from tests.pages import TABS

pytestmark = needs_chromium
FOUND = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations.flatMap(
  (each) => each.nodes.map((node) => `${each.id}: ${node.html.slice(0, 120)}`))"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core."""
    found = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    return (Path(found.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_tab(open_page, axe, scheme):
    page = open_page(color_scheme=scheme)
    page.evaluate(axe)
    for tab in TABS:
        page.click(f"role=tab[name='{tab}']")
        page.wait_for_timeout(1500)
        assert page.evaluate(FOUND) == [], tab


def test_every_tab_is_in_sight_on_a_narrow_screen_and_a_wide_one_is_filled_evenly(open_page):
    narrow = open_page(size=(420, 900))
    assert [tab for tab in TABS if not narrow.is_visible(f"role=tab[name='{tab}']")] == []
    wide = open_page(size=(2560, 1200))
    left, right = wide.locator("#wall .sheet").bounding_box(), wide.locator("#rules").bounding_box()
    margins = left["x"], 2560 - right["x"] - right["width"]
    assert abs(margins[0] - margins[1]) < 30
    assert left["width"] > 1000
