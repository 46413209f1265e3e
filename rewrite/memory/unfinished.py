"""What was summed by a measurement that its user ended: a file, from which the same measurement goes on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from rewrite.storage import files
from rewrite.storage.quoting import lacking

KIND = "part of a memory"


def beside(path: Path) -> Path:
    """The file of what is summed for a memory that is to be written there."""
    return path.with_name(f"{path.stem}.unfinished{path.suffix}")


def save(path: Path, identity: Mapping[str, Any], tensors: Mapping[str, Tensor], images: int, upto: int) -> None:
    """Write sums, whole or not at all.

    Args:
        path: Where to write.
        identity: What the sums depend on.
        tensors: The sums.
        images: Over how many images.
        upto: How many images were to be read before anybody asks whether they are enough.

    Raises:
        ValueError: The file cannot be written.
    """
    files.save_tensors(path, tensors, KIND, {"identity": dict(identity), "images": images, "upto": upto})


def load(path: Path, identity: Mapping[str, Any]) -> tuple[dict[str, Tensor], int, int]:
    """The sums that `save` wrote, over how many images they are, and how many were to be read.

    Raises:
        ValueError: The file is damaged, or of another measurement.
    """
    tensors, about = files.load_tensors(path, KIND)
    if about.get("identity") != json.loads(json.dumps(dict(identity))):
        raise ValueError(f"{path} is of another measurement: name another file, or delete it")
    files.finite(tensors, path)
    try:
        return tensors, int(about["images"]), int(about["upto"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is damaged: {lacking(error)}") from None


def describe(path: str | Path) -> dict[str, Any]:
    """What `rewrite inspect` says of such a file."""
    about = files.read_header(path)[1]
    identity = about.get("identity")
    plain = identity.items() if isinstance(identity, dict) else ()
    return {
        "images": about.get("images"),
        **{name: each for name, each in plain if isinstance(each, str | int | float)},
    }
