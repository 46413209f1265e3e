"""Small files that ask for a lot of work: each has under 4 MB, and must end in one sentence within 2 s and 500 MB.

Each kind of cost has a builder: an object that is used again and again, a check that grows with the square, keys of one
hash, streams inside of streams, parts that are shared so that there is no end of paths, sizes that a header alone has.
"""

import io
import json
import struct
import zipfile
from collections.abc import Callable

import torch

from rewrite.checkpoints.containers import LEGACY
from rewrite.generators.filters import Blur
from rewrite.storage.files import tensor_bytes

START = b"\x80\x02"


def length(number: int) -> bytes:
    return struct.pack("<I", number)


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def text(content: str) -> bytes:
    return b"X" + length(len(content)) + content.encode()


def whole(number: int) -> bytes:
    content = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def ordered() -> bytes:
    pairs = b"".join(b"M" + struct.pack("<H", number % 65536) + b"N\x86" for number in range(24_000))
    begun = START + named("collections", "OrderedDict") + b"q\0" + b"]q\1(" + pairs + b"e0"
    return begun + b"h\0h\1\x85R" * 40_000 + b"."


def sizes() -> bytes:
    begun = START + named("torch", "Size") + b"q\0]q\1(" + b"N" * 160_000 + b"e0"
    return begun + b"h\0h\1\x85R" * 56_000 + b"."


def tuple_key() -> bytes:
    return START + b"(" + b"N" * 160_000 + b"tq\0}q\1" + b"h\0Ns" * 72_000 + b"."


def many_tuple_keys() -> bytes:
    keys = (b"J" + struct.pack("<i", number) + b"\x85N" for number in range(100_000))
    return START + b"}(" + b"".join(keys) + b"u."


def equal_hashes() -> bytes:
    keys = (whole(number * (2**61 - 1)) + b"N" for number in range(1, 80_000))
    return START + b"}(" + b"".join(keys) + b"u."


def equal_hashes_in_pairs() -> bytes:
    pairs = (whole(number * (2**61 - 1)) + b"N\x86" for number in range(1, 80_000))
    return START + named("collections", "OrderedDict") + b"](" + b"".join(pairs) + b"e\x85R."


def keywords() -> bytes:
    entries = b"".join(b"J" + struct.pack("<i", number) + b"N" for number in range(40_000))
    begun = START + b"}(" + entries + b"uq\0" + named("a", "b") + b"q\1"
    return begun + b"h\1)h\0\x92" * 80_000 + b"."


def dimensions() -> bytes:
    begun = START + named("numpy.core.multiarray", "_reconstruct") + b")R(K\1(" + b"K\1" * 200_000 + b"t"
    return begun + named("numpy", "dtype") + b"X\2\0\0\0f4\x85R\x89C\4\0\0\0\0tb."


def nested() -> bytes:
    """A stream of 40,000 operations inside of a pickle, read again and again."""
    inside = stream(b"N0" * 40_000)
    begun = START + named("torch.storage", "_load_from_bytes") + b"q\0B" + length(len(inside)) + inside + b"q\1"
    return begun + b"h\0h\1\x85R0" * 40_000 + b"N."


def stream(operations: bytes = b"") -> bytes:
    """The stream that torch writes for a storage of one number, after some operations of no use."""
    storage = b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + b"K\1tQ."
    parts = (LEGACY, START + b"M\xe9\3.", START + b"}.", START + operations + storage, START + b"]" + text("0") + b"a.")
    return b"".join(parts) + struct.pack("<q", 1) + bytes(4)


def module(children: bytes, parameters: bytes = b"}") -> bytes:
    state = b"}(" + text("_modules") + children + text("_parameters") + parameters + b"u"
    return b"h\0}" + text("state") + state + b"s\x85R"


def diamond() -> bytes:
    """Modules that hold the same module twice, 40 deep."""
    content = START + named("torch_utils.persistence", "_reconstruct_persistent_obj") + b"q\0" + module(b"}")
    for _ in range(40):
        content += b"q\x010" + module(b"}(" + text("a") + b"h\1" + text("b") + b"h\1u")
    return content + b"q\x010}" + text("G_ema") + b"h\1s."


def long_names() -> bytes:
    """A module with a name of a megabyte, and with many tensors."""
    inside = stream()
    storage = named("torch.storage", "_load_from_bytes") + b"B" + length(len(inside)) + inside + b"\x85R"
    tensor = named("torch._utils", "_rebuild_tensor") + b"(" + storage + b"K\0))tRq\x030"
    content = START + tensor + named("torch_utils.persistence", "_reconstruct_persistent_obj") + b"q\x000}"
    parameters = b"}(" + b"".join(text(f"p{number}") + b"h\3" for number in range(20_000)) + b"u"
    children = b"}" + text("n" * 2**20) + module(b"}", parameters) + b"s"
    return content + text("G_ema") + module(children) + b"s."


def printed() -> bytes:
    """A size that is a list of lists, the same one twice, 40 deep."""
    content = START + named("torch_utils.persistence", "_reconstruct_persistent_obj") + b"q\0]q\1"
    for _ in range(40):
        content += b"0](h\1h\1eq\1"
    state = b"}(" + text("_modules") + b"}" + text("z_dim") + b"h\1" + text("class_name") + b"h\1u"
    made = b"h\0}(" + text("class_name") + b"h\1" + text("state") + state + b"u\x85R"
    return content + b"0}" + text("G_ema") + made + b"s."


def archived(pickled: bytes, storages: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in storages.items():
            archive.writestr(f"archive/data/{name}", content)
    return written.getvalue()


def storage_names() -> bytes:
    """One name of a megabyte for a storage, referred to again and again."""
    identity = b"(" + text("storage") + named("torch", "FloatStorage") + text("0" * 2**20) + text("cpu") + b"K\1t"
    return archived(START + identity + b"q\0" + b"Q0h\0" * 200_000 + b"Q.", {})


def state_of(names: list[str], shape: tuple[int, ...], numbers: bytes = b"") -> bytes:
    """A state dict all of whose tensors have the same numbers."""
    strides = tuple(torch.empty(shape, device="meta").stride())
    sizes, steps = (b"(" + b"".join(b"K" + bytes([each]) for each in part) + b"t" for part in (shape, strides))
    count = int(torch.Size(shape).numel())
    storage = b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + whole(count) + b"tQ"
    tensor = named("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + b"K\0" + sizes + steps + b"\x89}tR"
    entries = b"".join(text(name) + b"h\0" for name in names)
    return archived(START + tensor + b"q\0" + b"0}(" + entries + b"u.", {"0": numbers or bytes(4 * count)})


def header_of(kind: str, tensors: dict, **about: object) -> bytes:
    header = {"format": "rewrite", "kind": kind, "library": "0", "about": json.dumps(about)}
    return b"".join(tensor_bytes(tensors, header))


def painting(strokes: int = 500) -> bytes:
    mask = {"size": [16, 16], "runs": [[0, 4]]}
    units = list(range(1500))
    strokes = [{"action": "remove", "units": units, "strength": 1.0, "mask": mask}] * strokes
    about = {"schema": "rewrite-painting/1", "model": "0" * 16, "layer": "b8.conv1", "seed": 1, "truncation": 1.0}
    return json.dumps({**about, "strokes": strokes}, separators=(",", ":")).encode()


CHECKPOINTS: dict[str, Callable[[], bytes]] = {
    each.__name__: each
    for each in (
        *(
            ordered,
            sizes,
            tuple_key,
            many_tuple_keys,
            equal_hashes,
            equal_hashes_in_pairs,
            keywords,
            dimensions,
            nested,
        ),
        *(diamond, long_names, printed, storage_names),
    )
} | {
    "blocks": lambda: state_of(["convs.0.conv.weight", *(f"to_rgbs.{n}.bias" for n in range(100_000))], (1, 1)),
    "other names": lambda: state_of(["convs.0.conv.weight", *(f"layer{n}_sconv_mconv" for n in range(90_000))], (1, 1)),
    "filters": lambda: state_of(
        ["synthesis.b4.conv1.affine.weight", *(f"{n}_resample_filter" for n in range(90_000))],
        (4, 4),
        Blur().taps.numpy().tobytes(),
    ),
    "layers": lambda: state_of([f"layer{n}.conv.weight" for n in range(1, 100_001)], (1, 1, 3, 3)),
    "residual blocks": lambda: state_of(
        ["l1.weight", *(f"block{n}.c{i}.weight" for n in range(2, 40_000) for i in (1, 2))], (1, 1)
    ),
    "kernels": lambda: state_of([f"{n}.weight" for n in range(40_000)], (1, 1, 4, 4)),
}
SEGMENTERS: dict[str, Callable[[], bytes]] = {
    "wide": lambda: header_of("segmenter", {"a": torch.zeros(1)}, concepts=["a"], widths=[65536] * 12, provenance={}),
    "deep": lambda: header_of("segmenter", {"a": torch.zeros(1)}, concepts=["a"], widths=[1] * 10**6, provenance={}),
    "equal names": lambda: header_of(
        "segmenter", {"a": torch.zeros(1)}, concepts=["a"] * 500_000, widths=[1, 1], provenance={}
    ),
    "different names": lambda: header_of(
        "segmenter", {"a": torch.zeros(1)}, concepts=[*map(str, range(200_000)), "0"], widths=[1, 1], provenance={}
    ),
}
