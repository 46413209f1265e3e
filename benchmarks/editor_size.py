"""The editor with a StyleGAN2 of full width: how soon it shows something, how soon it answers, and what it holds.

    OMP_NUM_THREADS=2 python -m benchmarks.editor_size --side 1024 [--rounds 5]

A network with random weights is written as NVIDIA's pickle, and served in this process. Every time is given in seconds
and in draws: `draw` is the time in which the same process draws one image of a batch of four, before the page opens.
It needs chromium and Playwright.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from playwright.sync_api import Page, sync_playwright

from apps.editor.options import Options
from apps.editor.server import serving
from rewrite import load_generator
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from tests.editors import FLAGS
from tests.nvidia_files import write_stylegan2
from tests.pages import brush

WIDEST, BUDGET = 512, 32768
MOST_GIB = {256: 3, 1024: 8}
# Colours of random weights overshoot by far; these are of about the strength of a photograph.
FAINT = 0.25
PLACES = [(x, y) for y in (0.2, 0.5, 0.8) for x in (0.15, 0.5, 0.85)]
READY = "#wall .wall[data-ready='1']"
TILE = "() => document.querySelectorAll('#wall .before[src]').length > 0"


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=1024, choices=sorted(MOST_GIB), help="of the images")
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 10), help="of strokes and walls (default: 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REWRITE_CACHE"] = folder
        path = written(Path(folder), options.side)
        draw = drawing_time(path)
        print(f"side {options.side}: one image is drawn in {draw:.2f} s, {torch.get_num_threads()} threads", flush=True)
        # What drawing four at once has held is not the page's.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        measure(path, draw, options.rounds)
    print(f"at most {gib('VmHWM'):.1f} GiB in memory (target {MOST_GIB[options.side]})")


def written(folder: Path, side: int) -> Path:
    """A network of full width, as NVIDIA's repositories save it."""
    torch.manual_seed(0)
    channels = {each: min(WIDEST, BUDGET // each) for each in (2**power for power in range(2, side.bit_length()))}
    network = StyleGAN2(Design(WIDEST, WIDEST, 8, channels))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("torgb.weight"):
                parameter.mul_(FAINT)
    return write_stylegan2(folder / f"random-{side}.pkl", StyleGAN2Generator(network, noise="const"))


def drawing_time(path: Path) -> float:
    """Seconds for one image of a batch of four."""
    generator = load_generator(path)
    times = []
    for _ in range(2):
        begun = time.perf_counter()
        generator.sample(range(4), 4)
        times.append((time.perf_counter() - begun) / 4)
    return min(times)


def measure(path: Path, draw: float, rounds: int) -> None:
    """Measure each figure, and tell it."""

    def tell(what: str, times: list[float]) -> None:
        middle = statistics.median(times)
        print(f"{what}: {middle:.2f} s, {middle / draw:.2f} draws ({len(times)} times)", flush=True)

    begun = time.perf_counter()
    with serving(Options(str(path), segmenter="none", samples=20, out=path.parent)) as url, sync_playwright() as runs:
        served = time.perf_counter()
        browser = runs.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        launched = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.wait_for_selector(READY)
        page.wait_for_function(TILE)
        opened = time.perf_counter() - launched
        tell("start of the server, file and first tile", [served - begun])
        tell("page to first tile", [opened])
        tell("start to first tile", [served - begun + opened])
        tell("page to a preview of every tile", [opened + until(page, previews(page))])
        tell("stroke to status, while tiles are drawn", [stroke(page, number) for number in range(rounds)])
        tell("page to all tiles", [time.perf_counter() - launched + drawn(page)])
        tell("other seeds to the first preview", [other_seeds(page) for _ in range(rounds)])
        print(f"tiles on the wall: {page.locator('#wall .tile').count()}; {gib('VmRSS'):.1f} GiB", flush=True)
        browser.close()


def until(page: Page, script: str) -> float:
    """Seconds until something holds."""
    begun = time.perf_counter()
    page.wait_for_function(script, timeout=1_800_000)
    return time.perf_counter() - begun


def previews(page: Page) -> str:
    """Whether every tile shows something."""
    return f"document.querySelectorAll('#wall .before[src]').length === {page.locator('#wall .tile').count()}"


def drawn(page: Page) -> float:
    """Seconds until the wall is drawn."""
    return until(page, "document.querySelector('#wall .wall').dataset.rough === '0'")


def stroke(page: Page, number: int) -> float:
    """Seconds from the end of a stroke to the status that knows it."""
    page.keyboard.press("3")
    return timed(lambda: brush(page, 1, *PLACES[number]), page, f"Contexts {number + 1}")


def timed(act: Callable[[], None], page: Page, text: str) -> float:
    """Seconds from the end of an act to a text in the status."""
    act()
    begun = time.perf_counter()
    page.wait_for_selector(f"#status >> text={text}", timeout=300_000)
    return time.perf_counter() - begun


def other_seeds(page: Page) -> float:
    """Seconds from the press of New seeds, in the middle of a drawing, to the first preview of these."""
    last = page.locator("#wall .tile").last.get_attribute("data-seed")
    begun = time.perf_counter()
    page.click("#new-seeds")
    page.wait_for_selector(f"#wall .tile[data-seed='{int(last) + 1}']", timeout=300_000)
    page.wait_for_function(TILE, timeout=300_000)
    seconds = time.perf_counter() - begun
    # Until the first tile is being drawn.
    until(page, previews(page))
    page.wait_for_timeout(500)
    return seconds


def gib(field: str) -> float:
    """What this process holds, or the most that it held, in GiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 2**20


if __name__ == "__main__":
    sys.exit(main())
