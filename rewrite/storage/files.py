"""Files of this library: safetensors with a JSON header, written whole or not at all."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rewrite.storage.quoting import lacking, reason_of
from rewrite.storage.whole import check_place as check_place
from rewrite.storage.whole import is_temporary as is_temporary
from rewrite.storage.whole import together as together
from rewrite.storage.whole import write_together as write_together
from rewrite.storage.whole import write_whole
from rewrite.version import __version__

FORMAT = "rewrite"


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def existing(path: str | Path, kind: str = "file") -> Path:
    """The path of a file that is there.

    Raises:
        FileNotFoundError: There is nothing at that path.
        ValueError: It is a folder, or something else that is not a file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no {kind} {path}")
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    return path


def start_of(path: Path, count: int) -> bytes:
    """The first bytes of a file.

    Raises:
        OSError: It cannot be opened.
        ValueError: It cannot be read: a disk may be damaged.
    """
    with path.open("rb") as file:
        try:
            return file.read(count)
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None


def read_json(path: Path, kind: str) -> Any:
    """Read a JSON document.

    Args:
        path: The file.
        kind: What it should hold, for error messages.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not JSON, or cannot be read.
    """
    existing(path, kind)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a valid {kind}: {lacking(error)}") from None


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], kind: str, about: Mapping, *, in_order: bool = False
) -> None:
    """Write tensors with a header that says what they are; equal contents give equal files.

    Args:
        path: Where to write.
        tensors: The tensors by name.
        kind: What they are.
        about: What is known of them, as JSON.
        in_order: Whether the header names them in the order that they came in, and not sorted.
    """
    header = {"format": FORMAT, "kind": kind, "library": __version__, "about": json.dumps(about, sort_keys=True)}
    content = tensor_bytes(tensors, header, in_order=in_order)
    write_whole(path, lambda temporary: _write_parts(temporary, content))


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Read a file that `save_tensors` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or holds something else than `kind`.
    """
    found, about = read_header(path)
    if found != kind:
        raise ValueError(f"{path} holds a {found}, not a {kind}")
    try:
        return safetensors.torch.load_file(path), about
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged: {reason_of(error)}") from None


def read_header(path: str | Path) -> tuple[str, dict]:
    """The kind of a file of this library, and its header; no tensor is read.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a file of this library.
    """
    header = metadata(path)
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} is a safetensors file, but not one of this library's")
    try:
        about = json.loads(header.get("about", ""))
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: its header is not JSON") from None
    if not isinstance(about, dict):
        raise ValueError(f"{path} is damaged: its header is not an object")
    return str(header.get("kind")), about


def metadata(path: str | Path) -> dict[str, str]:
    """The metadata of any safetensors file; no tensor is read.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a safetensors file.
    """
    path = existing(path)
    try:
        with safe_open(path, "pt") as opened:
            return opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a safetensors file, or is cut short: {reason_of(error)}") from None


def finite(tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse tensors that hold NaN or infinity."""
    for name, tensor in tensors.items():
        # A sum is finite only if all of its terms are; it takes a tenth of the time, and no memory.
        if tensor.dtype in (torch.float32, torch.float64) and tensor.sum().isfinite():
            continue
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{path} holds values that are not finite, first in {name}")


def held_as(values: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """Values in the type in which a file holds them.

    Raises:
        ValueError: One would not be finite there.
    """
    found = values.detach().cpu().to(dtype)
    if found.is_floating_point() and not torch.isfinite(found).all():
        kind = str(dtype).removeprefix("torch.")
        raise ValueError(f"nothing is written: {name} would hold values that are not finite as {kind}")
    return found


def tensor_bytes(
    tensors: Mapping[str, Tensor], header: Mapping[str, str], *, in_order: bool = False
) -> tuple[bytes, memoryview]:
    """The bytes of a safetensors file in two parts, its header and its numbers; equal contents give equal bytes."""
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = memoryview(safetensors.torch.save(stored, dict(header)))
    end = 8 + int.from_bytes(data[:8], "little")
    # The library writes the header's entries in a random order.
    entries = json.loads(bytes(data[8:end]))
    names = ("__metadata__", *tensors) if in_order else sorted(entries)
    entries = {name: dict(sorted(entries[name].items())) for name in names}
    ordered = json.dumps(entries, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % 8)
    return len(ordered).to_bytes(8, "little") + ordered, data[end:]


def _write_parts(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
