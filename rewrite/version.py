"""Which version of the library this is: its metadata say so where it is installed, its checkout where it is not."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DISTRIBUTION = "model-rewriting"
CHECKOUT = Path(__file__).parents[1] / "pyproject.toml"


def _found() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        if not CHECKOUT.is_file():
            return "unknown"
        return tomllib.loads(CHECKOUT.read_text(encoding="utf-8"))["project"]["version"]


__version__ = _found()
