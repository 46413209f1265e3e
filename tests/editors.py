"""Editors in a process of their own, a browser to look at them, and tabs without a server."""

import asyncio
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from apps.editor.models import Models
from tests.started import Started

T = TypeVar("T")
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")
# The one without windows does the same in less time.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-features=Translate,OptimizationHints,MediaRouter",
    "--in-process-gpu",
]
# Gradio's sign that the page loads counts seconds at every frame, also once it is gone, for as long as the page is
# open: a tenth of a core for a number that nobody sees.
NO_COUNTING = """(() => {
  const plain = window.requestAnimationFrame.bind(window);
  const counts = (act) => act.length === 0 && /performance\\.now\\(\\)/.test(Function.prototype.toString.call(act));
  window.requestAnimationFrame = (act) => (counts(act) ? 0 : plain(act));
})()"""
TILES = 12
SECONDS_TO_START = 120
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")


class Editor:
    """A running editor.

    Attributes:
        url: Where its page is.
        folder: What it may write into: `out`, `tmp` and `cache` lie there.
    """

    def __init__(self, folder: Path, *arguments: object):
        self.folder, self.arguments = folder, [str(argument) for argument in arguments]
        self.start()

    def start(self) -> None:
        (self.folder / "tmp").mkdir(exist_ok=True)
        place = {"TMPDIR": str(self.folder / "tmp"), "REWRITE_CACHE": str(self.folder / "cache")}
        self.process = Started(["app", *self.arguments, "--out", str(self.folder / "out")], place, self.folder)
        until = time.monotonic() + SECONDS_TO_START
        while not (found := self._address()):
            assert self.process.status is None, self.process.err.read_text()
            assert time.monotonic() < until
            time.sleep(0.02)
        self.url = found[0]

    def _address(self) -> re.Match | None:
        """Where it says that its page is."""
        return ADDRESS.search(self.process.out.read_text()) if self.process.out.exists() else None

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()

    def end(self) -> tuple[int | None, str]:
        """Press Ctrl-C; the exit status, and what it said on stderr."""
        self.process.interrupt()
        self.process.wait(60)
        return self.process.status, self.process.err.read_text()


@contextmanager
def running(folder: Path, *arguments: object) -> Iterator[Editor]:
    """An editor inside a `with` block."""
    editor = Editor(folder, *arguments)
    try:
        yield editor
    finally:
        editor.end()


class Tabs:
    """Tabs of a browser that close at the end; then, nothing was wrong on them and nothing went elsewhere."""

    def __init__(self, browser: BrowserContext):
        self.browser, self.pages, self.wrong, self.asked = browser, list[Page](), list[str](), list[str]()

    def open(
        self,
        url: str,
        script: str = "",
        *,
        size: tuple[int, int] = (1280, 900),
        ready: str = "#wall .wall",
        **media: str,
    ) -> Page:
        """Open an editor in a tab of its own, and wait until what says that it is ready does."""
        page = self.browser.new_page()
        self.pages.append(page)
        page.set_default_timeout(90_000)
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(**media)
        page.add_init_script(script)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(url)
        page.wait_for_selector(f"{ready}[data-ready='1']")
        return page

    def __enter__(self) -> "Tabs":
        return self

    def __exit__(self, *raised: object) -> None:
        for page in self.pages:
            page.close()
        if raised == (None, None, None):
            assert self.wrong == []
            elsewhere = {urlsplit(url).hostname for url in self.asked if not url.startswith(("data:", "blob:"))}
            assert elsewhere == {"127.0.0.1"}


@contextmanager
def chromium(profile: Path) -> Iterator[BrowserContext]:
    """A browser inside a `with` block, with what it kept in a folder before."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(profile, executable_path=CHROMIUM, args=FLAGS)
        browser.add_init_script(NO_COUNTING)
        yield browser
        browser.close()


def made(make: Callable[[], T]) -> T:
    """What is made of Gradio's parts, inside an event loop: without one, Gradio begins many and ends none."""

    async def run() -> T:
        return make()

    return asyncio.run(run())


def built(kind: type[T], models: Models) -> T:
    """A tab of a page that nobody serves."""
    import gradio as gr

    from apps.editor import frame
    from apps.editor.session import Session

    def build() -> T:
        with gr.Blocks(analytics_enabled=False) as blocks:
            states = gr.State(Session(models)), gr.State(0), gr.State(0)
            with gr.Tab("tab") as tab:
                return kind(frame.Page("tab", models, Path(), *states, tab, blocks.load))

    return made(build)
