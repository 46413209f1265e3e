"""Editors in a process of their own, as people start them, a browser to look at them, and tabs without a server."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from playwright.sync_api import BrowserContext, sync_playwright

from apps.editor.models import Models

ROOT = Path(__file__).parents[1]
T = TypeVar("T")
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")
CHROMIUM = shutil.which("chromium")
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
TILES = 12
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
        place = {
            "TMPDIR": str(self.folder / "tmp"),
            "REWRITE_CACHE": str(self.folder / "cache"),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }
        command = [sys.executable, "-u", "-m", "apps.cli", "app", *self.arguments, "--out", str(self.folder / "out")]
        # What it complains of goes into a file: a pipe that nobody reads would fill up and stop it.
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **place}, stdout=subprocess.PIPE, stderr=said, text=True
            )
        line = self.process.stdout.readline()
        assert ADDRESS.search(line), self.said.read_text()
        self.url = ADDRESS.search(line)[0]

    @property
    def said(self) -> Path:
        """Where its stderr goes."""
        return self.folder / "stderr.txt"

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.communicate()

    def end(self) -> tuple[int, str]:
        """Press Ctrl-C; the exit status, and what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)
        return self.process.returncode, self.said.read_text()


@contextmanager
def running(folder: Path, *arguments: object) -> Iterator[Editor]:
    """An editor inside a `with` block."""
    editor = Editor(folder, *arguments)
    try:
        yield editor
    finally:
        editor.end()


@contextmanager
def chromium(profile: Path) -> Iterator[BrowserContext]:
    """A browser inside a `with` block, with what it kept in a folder before."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(profile, executable_path=CHROMIUM, args=FLAGS)
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

    from apps.editor.frame import Page
    from apps.editor.session import Session

    def build() -> T:
        with gr.Blocks(analytics_enabled=False) as blocks:
            states = gr.State(Session(models)), gr.State(0), gr.State(0)
            with gr.Tab("tab") as tab:
                return kind(Page("tab", models, Path(), *states, tab, blocks.load))

    return made(build)
