"""`rewrite models`: the generators that can be given by name instead of by file."""

from argparse import Namespace
from itertools import groupby
from typing import Any

from rewrite.checkpoints import registry
from rewrite.checkpoints.loading import BUILT_IN
from rewrite.checkpoints.registry import Published


def run(options: Namespace) -> dict:
    """List every name; nothing is downloaded."""
    return {
        "built_in": {name: str(path) for name, path in BUILT_IN.items()},
        "published": [describe(registry.find(name)) for name in registry.names()],
    }


def tell(result: dict) -> str:
    """The names, grouped by family and licence."""
    lines = [f"{name}: built in" for name in result["built_in"]]
    for (family, licence), group in groupby(result["published"], lambda each: (each["family"], each["licence"])):
        lines += ["", f"{family} (licence: {licence})"]
        for each in group:
            lines.append(f"  {each['name']:32} {_size(each['size']):>10}  {_where(each)}")
    return "\n".join([*lines, "", "A command that is given such a name downloads the file once."])


def describe(published: Published) -> dict[str, Any]:
    """The facts of a published checkpoint, and its path in the cache."""
    there = published.path.is_file()
    return {
        "name": published.name,
        "family": published.family,
        "licence": published.licence,
        "size": published.path.stat().st_size if there else published.size,
        "address": published.url,
        "downloaded": there,
        "path": str(published.path),
    }


def _size(size: int | None) -> str:
    return "size ?" if size is None else f"{size / 1e6:.1f} MB"


def _where(published: dict[str, Any]) -> str:
    return published["path"] if published["downloaded"] else "not downloaded"
