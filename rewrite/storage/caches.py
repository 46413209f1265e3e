"""The user's cache folder, for what can be measured or downloaded again."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The folder of the environment variable `REWRITE_CACHE`, or the system's folder for caches."""
    if "REWRITE_CACHE" in os.environ:
        return Path(os.environ["REWRITE_CACHE"])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "model-rewriting"
