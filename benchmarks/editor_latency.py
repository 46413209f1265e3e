"""How fast the editor answers, in a real browser: medians and 90th percentiles of 50 repetitions.

    OMP_NUM_THREADS=2 python -m benchmarks.editor_latency [--repetitions 50] [--only opening rewrite strength heat]

Each figure is from the hand to the picture: from the end of a stroke to the new heat-map, from the press of Rewrite
(once the price is there) to the first tile that changed, from a step of the strength slider to the 16 tiles that follow
it. It needs chromium and Playwright.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.editors import FLAGS, running
from tests.test_editor_browser import brush, brush_all

TILES = 16
FIGURES = ("opening", "rewrite", "strength", "heat")
# Between two steps, so that what the last one still asks of the server has ended.
PAUSE = 400
TARGETS = {
    "opening to a usable page": 2000,
    "stroke to heat-map": 150,
    "Rewrite to first changed tile": 400,
    "strength to all tiles": 300,
}
# Resolves with the milliseconds from the event to the picture; both are told by the page itself.
CLOCK = """({name, selector, event}) => new Promise((done) => {
  let start = null;
  const tiles = () => [...document.querySelectorAll(selector)].map((tile) => tile.src).join();
  addEventListener(event, () => { start ??= performance.now(); }, { capture: true, once: true });
  const first = tiles(), all = document.querySelectorAll(selector).length;
  const watch = new MutationObserver(() => {
    if (start === null || tiles() === first) return;
    watch.disconnect();
    requestAnimationFrame(() => { window[name] = performance.now() - start; });
  });
  watch.observe(document.querySelector("#wall"), { attributes: true, subtree: true, attributeFilter: ["src"] });
  done(all);
})"""


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=50, help="of each figure (default: 50)")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=FIGURES, help="some of the figures")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), "towers", "--tiles", TILES) as editor,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        measure(browser, editor.url, options.repetitions, options.only)
        browser.close()


def measure(browser: Browser, url: str, repetitions: int, only: Sequence[str]) -> None:
    """Measure each figure, and tell it."""
    if "opening" in only:
        tell("opening to a usable page", openings(browser, url, repetitions))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    opening(page, url)
    if "rewrite" in only or "strength" in only:
        brush_all(page)
        page.wait_for_selector("#price svg circle.chosen", timeout=300_000)
    if "rewrite" in only:
        tell("Rewrite to first changed tile", [rewriting(page) for _ in range(repetitions)])
    if "strength" in only:
        tell("strength to all tiles", strengths(page, repetitions))
    if "heat" in only:
        tell("stroke to heat-map", strokes(page, repetitions))


def openings(browser: Browser, url: str, repetitions: int) -> list[float]:
    """The page opened again and again, each time in a new tab."""
    times = []
    for _ in range(repetitions):
        page = browser.new_page()
        times.append(opening(page, url))
        page.close()
    return times


def strengths(page: Page, repetitions: int) -> list[float]:
    """Steps of the strength slider of one rule."""
    page.click("#rewrite")
    page.wait_for_selector("#rules .rules[data-rules='1']")
    slider = page.locator("#rules input[type=range]").first
    steps = [f"{0.05 * (1 + number % 19):.2f}" for number in range(repetitions)]
    times = []
    for step in steps:
        times.append(clocked(page, "#wall .edited", "input", slider.fill, step))
        page.wait_for_timeout(PAUSE)
    return times


def strokes(page: Page, repetitions: int) -> list[float]:
    """Strokes of the brush while the heat-maps are on the wall."""
    # Contexts alone make no rule, so that no price is reckoned between the strokes.
    if page.is_enabled("#wall >> role=button[name='Take all marks away']"):
        page.click("#wall >> role=button[name='Take all marks away']")
    page.keyboard.press("3")
    brush(page, 3, 0.5, 0.4)
    page.click("text=Where would it fire?")
    page.wait_for_selector(f"#wall .wall[data-hot='{TILES}']", timeout=120_000)
    times = []
    for number in range(repetitions):
        page.wait_for_timeout(PAUSE)
        times.append(clocked(page, "#wall .hot", "pointerup", brush, page, 4, 0.2 + 0.012 * number, 0.3))
    return times


def tell(name: str, times: list[float]) -> None:
    """Print the median and the 90th percentile of some milliseconds."""
    ninety = statistics.quantiles(times, n=10)[-1]
    print(
        f"{name}: median {statistics.median(times):.0f} ms, 90th percentile {ninety:.0f} ms "
        f"({len(times)} repetitions; target {TARGETS[name]} ms)",
        flush=True,
    )


def opening(page: Page, url: str) -> float:
    """From the request to a wall that can be brushed on."""
    page.goto(url, wait_until="commit")
    page.wait_for_selector("#wall .wall[data-ready='1']")
    return page.evaluate("performance.now()")


def rewriting(page: Page) -> float:
    """One more press of Rewrite, taken back afterwards."""
    time = clocked(page, "#wall .edited", "click", page.click, "#rewrite")
    page.wait_for_selector("#rules .rules[data-rules='1']")
    page.click("#rules >> text=Undo")
    page.wait_for_selector("#rules .rules[data-rules='0']")
    page.wait_for_timeout(100)
    return time


def clocked(page: Page, selector: str, event: str, act: Callable[..., object], *given: object) -> float:
    """The milliseconds from an event to the pictures that it changes."""
    page.evaluate("delete window.elapsed")
    page.evaluate(CLOCK, {"name": "elapsed", "selector": selector, "event": event})
    act(*given)
    return page.wait_for_function("window.elapsed", timeout=60_000).json_value()


if __name__ == "__main__":
    main()
