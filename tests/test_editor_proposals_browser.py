"""Proposed places in a real browser."""

from tests.editors import needs_chromium
from tests.pages import CONTEXTS, brush, canvas, marks, offered, refusal_on

pytestmark = needs_chromium
# The parts of a page may be made in any order: here their listeners of keys are asked last in, first out.
BACKWARDS = """(() => {
  const plain = document.addEventListener.bind(document), asked = [];
  document.addEventListener = (kind, listener, ...how) => {
    if (kind !== "keydown") return plain(kind, listener, ...how);
    if (!asked.length) plain(kind, (event) => asked.forEach((each) => each.call(document, event)));
    asked.unshift(listener);
  };
})()"""


def test_more_places_are_outlined_on_their_tiles_and_accepted_or_refused(open_page):
    page = open_page(script=BACKWARDS)
    page.click("#more-places")
    assert refusal_on(page).startswith("Brush the place that is meant")
    page.keyboard.press("3")
    for context in CONTEXTS:
        brush(page, *context)
    page.wait_for_selector("#status >> text=Contexts 3")
    page.click("#more-places")
    page.wait_for_selector("#status >> text=accept (Y) or refuse (N)")
    # Their images are on the wall, with the places outlined; the list shows those without room there.
    page.wait_for_selector("#wall .tile.offered canvas")
    seeds = offered(page)
    assert len(seeds) > 4
    assert page.locator("#wall .tile").count() == 24
    waiting = int(page.get_attribute("#proposals .proposals", "data-proposals"))
    assert page.locator("#proposals li:visible").count() == waiting - len(seeds) > 0
    assert "proposed places outlined" in marks(page, seeds[0])
    white = "each => each.getContext('2d').getImageData(0, 0, 256, 256).data.filter((one) => one > 250).length"
    assert canvas(page, seeds[0]).evaluate(white) > 200
    assert canvas(page, 5).evaluate(white) == 0

    page.locator(f"#wall .tile[data-seed='{seeds[2]}']").hover()
    page.keyboard.press("y")
    # What the status says of it gives way to the next step at once.
    page.wait_for_selector(f"#wall .tile[data-seed='{seeds[2]}'][aria-label*='Context']")
    page.wait_for_function("!document.querySelector('#status').innerText.includes('Contexts 3')")
    page.mouse.move(5, 5)
    page.keyboard.press("n")
    # It leaves the wall, and the next takes its place.
    page.wait_for_selector(f"#wall .tile[data-seed='{seeds[0]}']", state="detached")
    assert page.locator("#wall .tile").count() == 24
    page.click(f"role=button[name='Accept the outlined places of seed {seeds[1]} (key Y)']")
    page.wait_for_selector(f"#wall .tile[data-seed='{seeds[1]}'][aria-label*='Context']")
    page.wait_for_selector(f"#proposals .proposals[data-proposals='{waiting - 3}']")
    page.click("#proposals >> text=Accept all")
    page.wait_for_selector("#wall .tile.offered", state="detached")
    assert page.is_hidden("#proposals p")
    page.wait_for_selector(f"#wall .tile[data-seed='{seeds[3]}'][aria-label*='Context']")

    # What was refused is not offered again.
    page.click("#more-places")
    page.wait_for_selector("#proposals li")
    assert page.locator(f"[data-seed='{seeds[0]}']").count() == 0
