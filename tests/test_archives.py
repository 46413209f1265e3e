"""Files of torch and of pickle are read without running them, and written back byte for byte."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from rewrite.checkpoints.archives import Archive, tensors
from rewrite.checkpoints.made import Made, Named


def state() -> dict:
    """Tensors of many types, shared, transposed and empty ones among them."""
    torch.manual_seed(0)
    base = torch.randn(6, 4)
    return {
        "weight": base,
        "same": base,
        "turned": base.t(),
        "part": base[1:3, ::2],
        "half": torch.randn(3).half(),
        "brain": torch.randn(5).bfloat16(),
        "double": torch.randn(2, 2, 2).double(),
        "steps": torch.tensor(7),
        "flags": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(2, 3)),
        "last": torch.randn(3, 2, 4, 4).to(memory_format=torch.channels_last),
    }


def save(path, content, layout: str):
    """Write content in one of the three layouts."""
    if layout == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=4))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=layout == "zip")
    return path


LAYOUTS = ("zip", "stream", "pickle")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_tensor_is_what_torch_would_have_loaded(tmp_path, layout):
    expected = state()
    archive = Archive(save(tmp_path / "file", {"g_ema": OrderedDict(expected), "step": 3}, layout))
    assert archive.kind == layout
    assert archive.content["step"] == 3
    for name, tensor in archive.content["g_ema"].items():
        found = archive.read(tensor)
        assert found.dtype == expected[name].dtype
        assert torch.equal(found, expected[name].detach())


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_of_pickle_gives_the_same_values(tmp_path, protocol):
    content = {
        "texts": ["", "plain", "ünïcödé", "a" * 300],
        "numbers": [0, -1, 255, 256, 65536, -(2**40), 2**200, 0.5, -1e300, True, False, None],
        ("tuple", 1): (1, (2, 3, 4, 5), ()),
        "same": 3 * [[1, 2]],
        "ordered": OrderedDict(a=1),
    }
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert Archive(path).content == content


@pytest.mark.parametrize("layout", LAYOUTS)
def test_writing_without_a_change_gives_the_same_file(tmp_path, layout):
    path = save(tmp_path / "file", state(), layout)
    Archive(path).write(tmp_path / "copy", [])
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_change_reaches_the_tool_that_wrote_the_file_and_moves_no_other_byte(tmp_path, layout):
    path, expected = save(tmp_path / "file", state(), layout), state()
    archive = Archive(path)
    names = ("half", "last", "parameter")
    fresh = {name: torch.randn_like(expected[name].detach().float()).to(expected[name].dtype) for name in names}
    archive.write(tmp_path / "edited", [(archive.content[name], fresh[name]) for name in names])
    if layout == "pickle":
        found = pickle.loads((tmp_path / "edited").read_bytes())
    else:
        found = torch.load(tmp_path / "edited", weights_only=True)
    for name in expected:
        assert torch.equal(found[name].detach(), fresh.get(name, expected[name].detach()))
    before, after = path.read_bytes(), (tmp_path / "edited").read_bytes()
    assert len(before) == len(after)
    # Only the numbers, and in a zip archive two checksums for each changed entry.
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    assert changed <= sum(tensor.numel() * tensor.element_size() for tensor in fresh.values()) + 12 * len(names)


def test_classes_are_named_and_not_looked_up(tmp_path):
    class_name = "NoSuchClass"
    stream = b"\x80\x02cno.such.module\n" + class_name.encode() + b"\n)\x81}(X\x01\x00\x00\x00aK\x01ub."
    (tmp_path / "file").write_bytes(stream)
    made = Archive(tmp_path / "file").content
    assert isinstance(made, Made)
    assert made.named == Named("no.such.module", class_name)
    assert made.state == {"a": 1}


class Hostile:
    """An object whose pickle would call something."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_call_in_a_file_is_never_made(tmp_path, layout):
    import os

    trace = tmp_path / "trace"
    bad = [
        Hostile(os.system, f"touch {trace}"),
        Hostile(eval, f"open({str(trace)!r}, 'w')"),
        Hostile(exec, f"open({str(trace)!r}, 'w')"),
        Hostile(open, str(trace), "w"),
    ]
    path = save(tmp_path / "file", {"weights": torch.zeros(2), "bad": bad}, layout)
    found = Archive(path).content["bad"]
    assert all(isinstance(made, Made) for made in found)
    assert not trace.exists()


def test_numpy_arrays_are_read_in_both_orders(tmp_path):
    arrays = {
        "rows": np.arange(6.0).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    }
    path = save(tmp_path / "file", arrays, "pickle")
    archive = Archive(path)
    for name, tensor in ((path[0], tensor) for path, tensor in tensors(archive.content)):
        np.testing.assert_array_equal(archive.read(tensor).numpy(), arrays[name])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_shorter_file_is_refused_in_one_sentence(tmp_path, layout):
    whole = save(tmp_path / "file", {"a": torch.randn(5), "b": torch.randn(3)}, layout).read_bytes()
    for size in range(1, len(whole) - (64 if layout == "zip" else 1), max(1, len(whole) // 97)):
        (tmp_path / "short").write_bytes(whole[:size])
        with pytest.raises(ValueError, match="short cannot be read: ") as error:
            read_all(tmp_path / "short")
        assert "\n" not in str(error.value)


def read_all(path) -> None:
    archive = Archive(path)
    found = [archive.read(tensor) for _, tensor in tensors(archive.content)]
    if not found:
        raise ValueError(f"{path} cannot be read: it holds no tensor")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\x80\x02]" + b"2" * 20 + b"a" * 100, "empty stack|appends"),
        (b"\x80\x02r\xff\xff\xff\xff.", "empty stack"),
        (b"\x80\x02Nr\xff\xff\xff\xff" + b"j\xff\xff\xff\x0f.", "never kept"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b".", "cut short"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "number of"),
        (b"\x80\x02)" + b"2\x86" * 60 + b"}2K\x01s.", "as a key|sets items"),
        (b"I" + b"9" * 5000 + b"\n.", "no end"),
        (b"\x80\x02(K\x01K\x02.", None),
        (b"\x80\x02}(]K\x01u.", "as a key"),
        (b"\xff\xfe", "opcode"),
    ],
)
def test_a_hostile_pickle_costs_neither_time_nor_memory(tmp_path, content, reason):
    (tmp_path / "file").write_bytes(content)
    if reason is None:
        assert Archive(tmp_path / "file").content == 2
        return
    with pytest.raises(ValueError, match=reason):
        Archive(tmp_path / "file")


def test_a_key_that_would_take_for_ever_to_hash_is_refused_wherever_it_stands(tmp_path):
    nested = b")" + b"2\x86" * 60  # a tuple of a tuple of …, each twice the one before
    ordered = b"\x80\x02ccollections\nOrderedDict\n(](" + nested + b"K\x01\x86ltR."
    for content in (b"\x80\x02}" + nested + b"K\x01s.", ordered):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError, match=r"as a key|not known"):
            Archive(tmp_path / "file")


def test_a_compressed_archive_is_refused_and_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
    with pytest.raises(ValueError, match="is compressed"):
        Archive(tmp_path / "bomb.pt")


def test_a_flipped_bit_in_the_numbers_of_a_zip_archive_is_found(tmp_path):
    path = save(tmp_path / "file", {"a": torch.zeros(1000)}, "zip")
    content = bytearray(path.read_bytes())
    archive = Archive(path)
    content[archive.content["a"].storage.start + 17] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        read_all(path)


def test_a_tensor_larger_than_its_numbers_is_refused(tmp_path):
    huge = torch.zeros(1).expand(1000, 1000)
    with pytest.raises(ValueError, match="reaches beyond"):
        Archive(save(tmp_path / "file", {"huge": huge}, "zip"))


def test_a_change_of_the_wrong_shape_leaves_nothing_behind(tmp_path):
    path = save(tmp_path / "file", state(), "zip")
    archive = Archive(path)
    with pytest.raises(ValueError, match="shape"):
        archive.write(tmp_path / "edited", [(archive.content["half"], torch.zeros(4))])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file"]


def test_a_stream_inside_a_pickle_is_found_where_it_lies(tmp_path):
    inner = io.BytesIO()
    tensor = torch.arange(4.0)
    torch.save(tensor, inner, _use_new_zipfile_serialization=False)
    path = save(tmp_path / "file", {"t": tensor}, "pickle")
    start = Archive(path).content["t"].storage.start
    assert path.read_bytes()[start : start + 16] == tensor.numpy().tobytes()
