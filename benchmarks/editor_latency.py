"""How fast the editor answers, in a real browser: medians and 90th percentiles of 50 repetitions.

    OMP_NUM_THREADS=2 python -m benchmarks.editor_latency [--repetitions 50] [--only reference strength wipe heat]

Each figure is from the hand to the picture: from the end of a stroke to the new heat-map, from the press of Rewrite
(once the price is there) to the first tile that changed, from a step of the strength slider to the 16 tiles that follow
it, from a step of the wipe to the frame that shows it. The reference is a page of Gradio that counts presses of a
button. Beside each stands the processor time that the server and the browser took for one repetition: on a busy machine
the milliseconds say little. It needs chromium and Playwright.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests.editors import FLAGS, Editor, running
from tests.pages import brush, brush_all

TILES = 16
FIGURES = ("reference", "opening", "rewrite", "strength", "wipe", "heat")
# Between two steps, so that what the last one still asks of the server has ended.
PAUSE = 400
# The longest wait, for machines that others use too.
WAIT = 600_000
TARGETS = {
    "opening to a usable page": 2000,
    "stroke to heat-map": 150,
    "Rewrite to first changed tile": 400,
    "strength to all tiles": 150,
    "wipe to the frame": 150,
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


# Resolves at the first frame after the edited images are cut elsewhere.
WIPED = """(share) => new Promise((done) => {
  const slide = document.querySelector("#wall input.wipe"), tile = document.querySelector("#wall .tile .edited");
  const start = performance.now(), before = getComputedStyle(tile).clipPath;
  const same = () => getComputedStyle(tile).clipPath === before;
  const seen = () => { if (same()) requestAnimationFrame(seen); else done(performance.now() - start); };
  slide.value = share; slide.dispatchEvent(new Event("input", { bubbles: true }));
  requestAnimationFrame(seen);
})"""
COUNTED = """() => new Promise((done) => {
  const told = document.querySelector("#told"), start = performance.now();
  const watch = new MutationObserver(() => { watch.disconnect();
    requestAnimationFrame(() => done(performance.now() - start)); });
  watch.observe(told, { childList: true, subtree: true, characterData: true });
  document.querySelector("#press").click();
})"""


class Clock:
    """The processor time of the server, and that of everything else that this program has started: the browser.

    Args:
        server: The number of the server's process; without one, this process is the server.
    """

    def __init__(self, server: int | None = None):
        self.server = server or os.getpid()

    def seconds(self) -> tuple[float, float]:
        """Of the server, and of the browser."""
        below = descendants(os.getpid())
        return spent([self.server]), spent(below - {self.server, os.getpid()})


def descendants(process: int) -> set[int]:
    """The numbers of the processes that a process has started, and that these have started."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    found, more = set(), {process}
    while more:
        more = {child for child, parent in parents.items() if parent in more} - found
        found |= more
    return found


def spent(processes: Iterable[int]) -> float:
    """The processor time that some processes have taken, in seconds."""
    ticks = 0
    for process in processes:
        with suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


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
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(WAIT)
        if "reference" in options.only:
            tell("a press in Gradio that counts", Clock(), lambda: presses(context, options.repetitions))
        measure(context, editor, options.repetitions, options.only)
        browser.close()


def measure(browser: BrowserContext, editor: Editor, repetitions: int, only: Sequence[str]) -> None:
    """Measure each figure, and tell it."""
    url, clock = editor.url, Clock(editor.process.pid)
    if "opening" in only:
        tell("opening to a usable page", clock, lambda: openings(browser, url, repetitions))
    page = browser.new_page()
    opening(page, url)
    if {"rewrite", "strength", "wipe"}.intersection(only):
        brush_all(page)
        # The other answers of a price are solved once its figures are opened, and not while something is measured.
        page.click("#price summary")
        page.wait_for_selector("#price svg circle.chosen")
    if "rewrite" in only:
        tell("Rewrite to first changed tile", clock, lambda: [rewriting(page) for _ in range(repetitions)])
    if {"strength", "wipe"}.intersection(only):
        page.click("#rewrite")
        page.wait_for_selector("#rules .rules[data-rules='1']")
        page.wait_for_selector(f"#wall .wall[data-edited='{TILES}']")
    if "strength" in only:
        tell("strength to all tiles", clock, lambda: strengths(page, repetitions))
    if "wipe" in only:
        tell("wipe to the frame", clock, lambda: [page.evaluate(WIPED, 5 + step % 90) for step in range(repetitions)])
    if "heat" in only:
        prepare_strokes(page)
        tell("stroke to heat-map", clock, lambda: strokes(page, repetitions))


def presses(browser: BrowserContext, repetitions: int) -> list[float]:
    """The least that Gradio can do: a button whose presses are counted by a server in this process."""
    import gradio as gr

    with gr.Blocks(analytics_enabled=False) as blocks:
        count, told, press = gr.State(0), gr.HTML("0", elem_id="told"), gr.Button("Press", elem_id="press")
        press.click(lambda number: (number + 1, str(number + 1)), [count], [count, told], show_progress="hidden")
    _, url, _ = blocks.launch(server_name="127.0.0.1", share=False, quiet=True, prevent_thread_lock=True)
    page = browser.new_page()
    page.goto(url)
    page.wait_for_selector("#press")
    page.wait_for_timeout(1000)
    times = []
    for _ in range(repetitions):
        times.append(page.evaluate(COUNTED))
        page.wait_for_timeout(PAUSE)
    page.close()
    blocks.close(verbose=False)
    return times


def openings(browser: BrowserContext, url: str, repetitions: int) -> list[float]:
    """The page opened again and again, each time in a new tab."""
    times = []
    for _ in range(repetitions):
        page = browser.new_page()
        times.append(opening(page, url))
        page.close()
    return times


def strengths(page: Page, repetitions: int) -> list[float]:
    """Steps of the strength slider of one rule."""
    slider = page.locator("#rules input[type=range]").first
    steps = [f"{0.05 * (1 + number % 19):.2f}" for number in range(repetitions)]
    times = []
    for step in steps:
        times.append(clocked(page, "#wall .edited", "input", slider.fill, step))
        page.wait_for_timeout(PAUSE)
    return times


def prepare_strokes(page: Page) -> None:
    """One mark, and the heat-maps on the wall."""
    # Contexts alone make no rule, so that no price is reckoned between the strokes.
    clear = page.locator("#wall .tool:text-is('Clear')")
    if clear.is_enabled():
        clear.click()
    page.keyboard.press("3")
    brush(page, 3, 0.5, 0.4)
    page.click("text=Where would it fire?")
    page.wait_for_selector(f"#wall .wall[data-hot='{TILES}']")


def strokes(page: Page, repetitions: int) -> list[float]:
    """Strokes of the brush while the heat-maps are on the wall."""
    times = []
    for number in range(repetitions):
        page.wait_for_timeout(PAUSE)
        times.append(clocked(page, "#wall .hot", "pointerup", brush, page, 4, 0.2 + 0.012 * number, 0.3))
    return times


def tell(name: str, clock: Clock, times_of: Callable[[], list[float]]) -> None:
    """Print the median and the 90th percentile of some milliseconds, and the processor time of one repetition."""
    before = clock.seconds()
    times = times_of()
    server, browser = (1000 * (then - now) / len(times) for now, then in zip(before, clock.seconds(), strict=True))
    ninety = statistics.quantiles(times, n=10)[-1]
    target = f"; target {TARGETS[name]} ms" if name in TARGETS else ""
    print(
        f"{name}: median {statistics.median(times):.0f} ms, 90th percentile {ninety:.0f} ms ({len(times)} "
        f"repetitions{target}); of the processor, server {server:.0f} ms and browser {browser:.0f} ms each",
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
    return page.wait_for_function("window.elapsed").json_value()


if __name__ == "__main__":
    main()
