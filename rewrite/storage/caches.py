"""The user's cache folder, for what can be measured or downloaded again."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The folder of the environment variable `REWRITE_CACHE`, or the system's folder for caches.

    Raises:
        ValueError: This user has no home folder.
    """
    try:
        return _folder()
    except RuntimeError:
        raise ValueError("this user has no home folder for a cache: name a folder in REWRITE_CACHE") from None


def _folder() -> Path:
    if "REWRITE_CACHE" in os.environ:
        return Path(os.environ["REWRITE_CACHE"])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "model-rewriting"
