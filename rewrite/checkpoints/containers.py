"""The kind of a file, recognised by its bytes alone: nothing in it is executed, and no tensor is read."""

import io
import pickletools
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from rewrite.storage import files
from rewrite.storage.quoting import reason_of

LOOKED_AT = 2**20
# A protocol buffer whose first field is a small number (the version) and whose second is a text (the producer).
ONNX_START = re.compile(rb"\x08[\x01-\x14]\x12[\x01-\x40][ -~]")
SHOWN = 8
ZIP, STREAM, PICKLE = "PyTorch checkpoint (zip)", "PyTorch checkpoint of before 2020 (pickle)", "pickle"
SAFETENSORS = "safetensors file of another tool"
HDF5 = "HDF5 file, as TensorFlow and Keras write it"
# The kinds in which a generator may be found.
OF_WEIGHTS = (ZIP, STREAM, PICKLE, SAFETENSORS)
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
PICTURES = {
    b"\x89PNG\r\n\x1a\n": "PNG picture",
    b"\xff\xd8\xff": "JPEG picture",
    b"GIF8": "GIF picture",
}
ONNX, KERAS, TORCHSCRIPT = "ONNX model", "Keras archive", "TorchScript archive"
BUILD = "build the module in Python, load the weights into it and use rewrite.wrap"
# What to do with a file in which no generator is read.
HELP = {
    ONNX: f"its graph has no layers that can be edited: export from the PyTorch model it was made of, or {BUILD}",
    KERAS: f"convert its weights to PyTorch, {BUILD}",
    TORCHSCRIPT: f"save the state_dict() of the module that it was made from, or {BUILD}",
    HDF5: f"convert its weights to PyTorch, {BUILD}",
    "GGUF file, as llama.cpp and its like write it": "it holds quantised weights: use the file that it was made from",
    "NumPy array": "latents are drawn by rewrite sample --latents",
    "NumPy archive": "latents are drawn by rewrite sample --latents",
}
OTHERS = {
    b"\x89HDF\r\n\x1a\n": HDF5,
    b"\x93NUMPY": "NumPy array",
    b"GGUF": "GGUF file, as llama.cpp and its like write it",
    b"\x1f\x8b": "gzip archive: unpack it first",
    b"%PDF": "PDF document",
    b"version https://git-lfs": "pointer of Git LFS: the file itself was not downloaded",
    b"<!DOCTYPE html": "web page: perhaps a download that needed a click",
    b"<html": "web page: perhaps a download that needed a click",
}


def describe(path: str | Path) -> dict[str, Any]:
    """What a foreign file is: its container, and what can be said of its content without running it.

    Raises:
        ValueError: The file is empty, damaged, or of no known kind.
    """
    path = Path(path)
    start = files.start_of(path, LOOKED_AT)
    if not start:
        raise ValueError(f"{path} is empty")
    for magic, kind in {**PICTURES, **OTHERS}.items():
        if start[: len(magic)].lower() == magic.lower():
            return {"kind": kind}
    if zipfile.is_zipfile(path):
        return _zip(path)
    if start.startswith(b"PK\x03\x04"):
        raise ValueError(f"{path} is a zip archive, such as torch.save writes, but it is cut short or damaged")
    if start[8:9] == b"{":
        return _safetensors(path)
    if ONNX_START.match(start):
        return {"kind": ONNX}
    if start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        kind = STREAM if start.startswith(LEGACY) else PICKLE
        return {"kind": kind, "names": _names(start.removeprefix(LEGACY))}
    raise ValueError(f"{path} is not a file that this library knows: it begins with {start[:8]!r}")


def _zip(path: Path) -> dict[str, Any]:
    try:
        return _archive(path)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is a damaged zip archive: a name in it is not UTF-8") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"{path} is a damaged zip archive: {reason_of(error)}") from None


def _archive(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickled = next((name for name in names if name.endswith("/data.pkl") or name == "data.pkl"), None)
        if pickled is None:
            if {"config.json", "metadata.json"} <= set(names) and any(name.endswith(".h5") for name in names):
                return {"kind": KERAS}
            numpy = bool(names) and all(name.endswith(".npy") for name in names)
            return {"kind": "NumPy archive" if numpy else "zip archive", "files": len(names), "first": names[:SHOWN]}
        scripted = any("/code/" in name for name in names)
        with archive.open(pickled) as file:
            found = _names(file.read(LOOKED_AT))
        stored = [entry for entry in archive.infolist() if "/data/" in f"/{entry.filename}"]
    return {
        "kind": TORCHSCRIPT if scripted else ZIP,
        "storages": len(stored),
        "bytes": sum(entry.file_size for entry in stored),
        "names": found,
    }


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, "pt") as opened:
            names, metadata = list(opened.keys()), opened.metadata() or {}
            shapes = {name: opened.get_slice(name).get_shape() for name in names}
            types = Counter(opened.get_slice(name).get_dtype() for name in names)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} looks like a safetensors file, but is cut short or damaged: {reason_of(error)}"
        ) from None
    return {
        "kind": SAFETENSORS,
        "tensors": len(names),
        "types": dict(types),
        "first": [f"{name} {'x'.join(map(str, shapes[name]))}" for name in names[:SHOWN]],
        "metadata": {key: value[:80] for key, value in metadata.items()},
    }


def _names(content: bytes) -> list[str]:
    """The classes and functions that a pickle would call, most frequent first; read, not run."""
    return [name for name, _ in Counter(_called(content)).most_common(SHOWN)]


def _called(content: bytes) -> Iterator[str]:
    texts: list[str] = []
    stream = io.BytesIO(content)
    try:
        # Files of old PyTorch are several pickles one after the other.
        while stream.tell() < len(content):
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "GLOBAL":
                    yield str(argument).replace(" ", ".")
                elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
                    yield ".".join(texts[-2:])
                elif "UNICODE" in opcode.name:
                    texts = [*texts[-1:], str(argument)]
    except (ValueError, IndexError):
        # Only the beginning of a long file is looked at, so that a pickle ends in the middle.
        return
