"""Files of ours: safetensors with a JSON header, written whole or not at all."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

FORMAT = "rewrite"


def write_whole(path: str | Path, write: Callable[[Path], None]) -> None:
    """Write a file under a temporary name beside `path` and rename it: nobody ever sees half a file.

    Raises:
        ValueError: The folder cannot be written to, or the disk is full; the old file is still there.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from None
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_together(folder: str | Path, contents: Mapping[str, bytes]) -> None:
    """Write several files into a folder: all of them, or none.

    Raises:
        ValueError: The folder cannot be written to, or the disk is full; the old files are still there.
    """
    folder, temporaries = Path(folder), {}
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
            temporaries[name] = Path(temporary)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
        for name, temporary in temporaries.items():
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(folder / name)
        made = False
    except OSError as error:
        raise ValueError(f"cannot write into {folder}: {error.strerror or error}") from None
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        if made:
            with suppress(OSError):
                folder.rmdir()


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], kind: str, about: Mapping) -> None:
    """Write tensors with a header that says what they are; equal contents give equal files."""
    header = {"format": FORMAT, "kind": kind, "library": library_version(), "about": json.dumps(about, sort_keys=True)}
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, lambda temporary: _write_tensors(temporary, stored, header))


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
        raise ValueError(f"{path} is damaged: {error}") from None


def read_header(path: str | Path) -> tuple[str, dict]:
    """What kind of file of ours this is, and what it says of itself; no tensor is read.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no file of ours.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    try:
        with safe_open(path, "pt") as opened:
            header = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a safetensors file, or is cut short: {error}") from None
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} is a safetensors file, but not one of this library's")
    try:
        about = json.loads(header.get("about", ""))
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: its header is not JSON") from None
    if not isinstance(about, dict):
        raise ValueError(f"{path} is damaged: its header is not an object")
    return str(header.get("kind")), about


def library_version() -> str:
    """Version of the installed library."""
    try:
        return version("model-rewriting")
    except PackageNotFoundError:
        return "uninstalled"


def finite(tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse tensors that hold NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{path} holds values that are not finite, first in {name}")


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    data = memoryview(safetensors.torch.save(tensors, header))
    end = 8 + int.from_bytes(data[:8], "little")
    # The library writes the header's entries in an order that changes from run to run.
    ordered = json.dumps(json.loads(bytes(data[8:end])), sort_keys=True, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % 8)
    with path.open("wb") as file:
        file.write(len(ordered).to_bytes(8, "little") + ordered)
        file.write(data[end:])


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
