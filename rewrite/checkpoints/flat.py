"""Safetensors files of any tool: tensors by name, each where it lies in the file."""

import json
import math
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from rewrite.checkpoints.cursor import DamagedError
from rewrite.checkpoints.tensors import MOST_DIMENSIONS, Placed, Storage
from rewrite.storage.quoting import named, reason_of

# A header's length has eight bytes, of which no header fills more than four, and then comes the object.
START = slice(4, 9)
OBJECT = b"\0\0\0\0{"
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def looks_flat(start: bytes) -> bool:
    """Whether a file that begins like this may be a safetensors file."""
    return start[START] == OBJECT


def flat_tensors(path: Path, buffer: memoryview) -> dict[str, Placed]:
    """The tensors of a safetensors file, in the order in which its header names them.

    Args:
        path: The file.
        buffer: All of its bytes.

    Raises:
        DamagedError: The file is cut short or damaged, or holds numbers of a type that is not read.
    """
    try:
        # The safetensors library checks that each tensor lies within the file and has the bytes that its shape needs.
        with safe_open(path, "pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise DamagedError(f"it is not a safetensors file, or cut short ({reason_of(error)})") from None
    end = 8 + int.from_bytes(buffer[:8], "little")
    entries = json.loads(bytes(buffer[8:end]))
    return {name: _placed(name, entry, end) for name, entry in entries.items() if name != "__metadata__"}


def _placed(name: str, entry: dict, end: int) -> Placed:
    if len(entry["shape"]) > MOST_DIMENSIONS or max(entry["shape"], default=0) >= 2**63:
        raise DamagedError(f"it holds {named(name)} in a shape that no tensor has")
    if entry["dtype"] not in TYPES:
        raise DamagedError(f"it holds {named(name)} as {entry['dtype']}, which is not read here")
    dtype, shape, (first, last) = TYPES[entry["dtype"]], tuple(entry["shape"]), entry["data_offsets"]
    # As torch lays a tensor out, which itself refuses a side of more than it can count.
    stride = tuple(math.prod(max(side, 1) for side in shape[axis + 1 :]) for axis in range(len(shape)))
    return Placed(Storage(dtype, (last - first) // dtype.itemsize, end + first, name), 0, shape, stride)
