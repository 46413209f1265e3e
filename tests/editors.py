"""Editors in a process of their own, as people start them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")


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
