"""How wide the tabs of the editor are, in a real browser."""

from tests.editors import needs_chromium
from tests.pages import TABS

pytestmark = needs_chromium
# Where the tab that is open begins and ends, and how wide the page is.
EDGES = """() => {
  const panel = [...document.querySelectorAll('[role=tabpanel]')].find((each) => each.offsetParent);
  const { left, right } = panel.getBoundingClientRect();
  return [Math.round(left), Math.round(right), document.documentElement.scrollWidth];
}"""


def test_all_tabs_are_equally_wide_and_none_scrolls_sideways(open_page):
    page = open_page()
    for width, least in ((420, 340), (2560, 1700)):
        page.set_viewport_size({"width": width, "height": 900})
        edges = {}
        for tab in TABS:
            page.click(f"role=tab[name='{tab}']")
            page.wait_for_selector(f"role=tab[name='{tab}'][selected]")
            edges[tab] = tuple(page.evaluate(EDGES))
        left, right, scrolled = edges["Rewrite"]
        assert set(edges.values()) == {(left, right, width)}, edges
        assert scrolled == width
        assert right - left > least
