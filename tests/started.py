"""The program in a process of its own, forked from one that has imported it: a start takes the time of what it does."""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["apps.cli", "apps.editor.page", "apps.editor.server", "apps.commands.app"])


class Started:
    """`rewrite` with some arguments, in a process of its own.

    Attributes:
        out: The file of what it says on stdout.
        err: The file of what it says on stderr.
    """

    def __init__(self, arguments: list[str], environment: Mapping[str, str], folder: Path):
        self.out, self.err = folder / "stdout.txt", folder / "stderr.txt"
        for file in (self.out, self.err):
            file.unlink(missing_ok=True)
        given = arguments, {**os.environ, **environment}, str(self.out), str(self.err)
        self.process = FORKS.Process(target=run, args=given, daemon=True)
        self.process.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def status(self) -> int | None:
        """The exit status, or None while it runs."""
        return self.process.exitcode

    def interrupt(self) -> None:
        """Press Ctrl-C, unless it has ended."""
        if self.process.is_alive():
            os.kill(self.pid, signal.SIGINT)

    def wait(self, seconds: float) -> None:
        """Wait for its end; it must come in time."""
        self.process.join(seconds)
        assert self.status is not None

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.join()


def run(arguments: list[str], environment: dict[str, str], out: str, err: str) -> None:
    """What the new process does."""
    from apps.cli import main

    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # what was found in the environment of the one that imported everything
    for path, number in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.exit(main(arguments))
