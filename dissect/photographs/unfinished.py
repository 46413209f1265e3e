"""What was found of a photograph when its user ended the search: a file, from which the same search goes on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dissect.photographs.nearness import Nearness
from dissect.photographs.search import Search
from rewrite.interrupts import raised_as_such
from rewrite.storage import files

KIND = "part of a photograph"


@contextmanager
def kept(search: Search, path: Path) -> Iterator[None]:
    """Keep in a file what was found if the user ends the `with` block; at its end, the file is taken away.

    Raises:
        KeyboardInterrupt: The user ended it; the message says how to go on.
    """
    try:
        with raised_as_such():
            yield
    except KeyboardInterrupt:
        if not search.found.near:
            raise
        about = {"identity": search.identity, "near": [list(each) for each in search.found.near]}
        try:
            files.save_tensors(path, search.tensors(), KIND, about)
        except ValueError as error:
            raise KeyboardInterrupt(f"what was found is not kept: {error}") from None
        raise KeyboardInterrupt(f"what was found is in {path}: the same command goes on from there") from None
    with suppress(OSError):
        path.unlink(missing_ok=True)


def go_on(search: Search, path: Path) -> None:
    """Take up what a file keeps of a search, if there is one.

    Raises:
        ValueError: The file is damaged, or of another search.
    """
    if not path.exists():
        return
    tensors, about = files.load_tensors(path, KIND)
    if about.get("identity") != json.loads(json.dumps(search.identity)):
        raise ValueError(f"{path} is of another search: name another file, or delete it")
    device = search.generator.device
    try:
        near = [Nearness(str(stage), *rest) for stage, *rest in about["near"]]
        search.take(near, {name: each.to(device) for name, each in tensors.items()})
    except (KeyError, RuntimeError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{path} is damaged: delete it to begin anew") from None


def describe(path: str | Path) -> dict[str, Any]:
    """What `rewrite inspect` says of such a file."""
    about = files.read_header(path)[1]
    identity, near = about.get("identity"), about.get("near")
    plain = identity.items() if isinstance(identity, dict) else ()
    return {
        "finished stages": [str(each[0]) for each in near if each] if isinstance(near, list) else [],
        **{name: each for name, each in plain if isinstance(each, str | int | float)},
    }
