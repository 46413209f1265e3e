"""The user's cache folder: what can be measured or downloaded again lies there."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where this library keeps what it can make anew: `REWRITE_CACHE`, or what the system sets aside for caches."""
    if "REWRITE_CACHE" in os.environ:
        return Path(os.environ["REWRITE_CACHE"])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "model-rewriting"
