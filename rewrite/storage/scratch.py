"""Folders for what is made on the way: taken away at the end, and by the next run if this one is killed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rewrite.storage.whole import held

PREFIX = "rewrite-scratch-"


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in the system's place for temporary files that nobody else may look into, inside a `with` block."""
    _sweep(Path(tempfile.gettempdir()))
    with ExitStack() as stack:
        while True:
            made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)))
            with suppress(FileNotFoundError):
                # Another run may have taken it for one that was left.
                if stack.enter_context(held(made)) is not False and made.exists():
                    break
        yield made


def _sweep(folder: Path) -> None:
    """Take away the folders of this user's runs that were killed: nobody holds them."""
    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if hasattr(os, "getuid") and left.lstat().st_uid != os.getuid():
                continue
            with held(left) as free:
                if free:
                    shutil.rmtree(left, ignore_errors=True)
