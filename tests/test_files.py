"""A file is written whole or not at all, and no bytes do worse than being refused."""

import errno
import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewrite.storage import files, swapped


def full_disk(path: Path) -> None:
    path.write_bytes(b"half of it")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(path: Path) -> None:
    path.write_bytes(b"half of it")
    raise KeyboardInterrupt


@pytest.mark.parametrize("there", [True, False], ids=["over an old file", "new"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, there):
    path = tmp_path / "patch.safetensors"
    if there:
        path.write_bytes(b"old")
    with pytest.raises(ValueError, match=r"cannot write .*patch\.safetensors: No space left on device"):
        files.write_whole(path, full_disk)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [(path.name, b"old")] * there


def test_an_interrupt_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "patch.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        files.write_whole(path, interrupted)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [(path.name, b"old")]


def test_the_file_appears_whole_and_at_once(tmp_path):
    path, seen = tmp_path / "deep" / "er" / "rule.json", []

    def write(temporary: Path) -> None:
        temporary.write_text("first half, ")
        seen.append(path.exists())
        temporary.write_text("first half, second half")

    files.write_whole(path, write)
    assert seen == [False]
    assert path.read_text() == "first half, second half"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_refused_with_the_path(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "rule.json", tmp_path / "file" / "deep" / "rule.json"):
        with pytest.raises(ValueError, match=f"cannot write {path}: "):
            files.write_text(path, "text")


def test_a_folder_in_the_way_is_refused(tmp_path):
    (tmp_path / "rule.json").mkdir()
    with pytest.raises(ValueError, match="cannot write"):
        files.write_text(tmp_path / "rule.json", "text")
    assert [each.name for each in tmp_path.iterdir()] == ["rule.json"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        files.write_text(tmp_path / "ours", "text")
        (tmp_path / "plain").write_text("text")
    finally:
        os.umask(before)
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_permissions_are_never_open_to_all_while_other_threads_write(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", None)
    files.write_text(tmp_path / "alone", "text")
    files.write_together(tmp_path / "folder", {"one": b"1", "two": b"2"})
    assert (tmp_path / "folder" / "two").stat().st_mode == (tmp_path / "alone").stat().st_mode


def failing_at(path: Path, error: type[BaseException], monkeypatch) -> None:
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target == path:
            # Once: what was there before can be put back.
            monkeypatch.setattr(Path, "replace", rename)
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)


@pytest.fixture
def unswapped(monkeypatch):
    """A system that cannot put a folder in place of another."""
    monkeypatch.setattr(swapped, "possible", lambda folder, targets: False)


@pytest.mark.usefixtures("unswapped")
@pytest.mark.parametrize("error", [PermissionError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "there", [("a", "b", "c"), ("a",), ("b",), ()], ids=["all old", "first old", "second old", "new"]
)
def test_files_written_together_are_all_as_they_were_when_one_cannot_be_renamed(tmp_path, monkeypatch, there, error):
    for name in there:
        (tmp_path / name).write_text(f"old {name}")
    failing_at(tmp_path / "b", error, monkeypatch)
    with pytest.raises(ValueError if error is PermissionError else error):
        files.write_together(tmp_path, {name: b"new" for name in "abc"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: f"old {name}" for name in there}


@pytest.mark.usefixtures("unswapped")
def test_a_folder_made_for_files_that_could_not_be_written_is_taken_away(tmp_path, monkeypatch):
    folder = tmp_path / "report"
    failing_at(folder / "b", PermissionError, monkeypatch)
    with pytest.raises(ValueError, match=r"cannot write into .*report"):
        files.write_together(folder, {name: b"new" for name in "abc"})
    assert not folder.exists()
    files.write_together(folder, {name: b"new" for name in "abc"})
    files.write_together(folder, {name: b"newer" for name in "ab"})
    assert [(folder / name).read_bytes() for name in "abc"] == [b"newer", b"newer", b"new"]
    assert len(list(folder.iterdir())) == 3


TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.float64), "c": torch.zeros(0)}


def test_tensors_come_back_with_what_was_said_of_them(tmp_path):
    about = {"layer": "b8.conv1", "numbers": [1, 2.5, None], "text": 'é "quoted"\n'}
    files.save_tensors(tmp_path / "x.safetensors", TENSORS, "patch", about)
    tensors, found = files.load_tensors(tmp_path / "x.safetensors", "patch")
    assert found == about
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert files.read_header(tmp_path / "x.safetensors") == ("patch", about)


def test_other_tools_can_read_our_files(tmp_path):
    files.save_tensors(tmp_path / "x.safetensors", TENSORS, "patch", {})
    assert torch.equal(safetensors.torch.load_file(tmp_path / "x.safetensors")["a"], TENSORS["a"])


def test_equal_contents_give_equal_files(tmp_path):
    names = [tmp_path / f"{i}.safetensors" for i in range(8)]
    for i, path in enumerate(names):
        order = sorted(TENSORS, reverse=bool(i % 2))
        files.save_tensors(path, {name: TENSORS[name] for name in order}, "patch", {"x": 1, "y": 2})
    assert len({path.read_bytes() for path in names}) == 1


def test_tensors_that_are_views_are_written_as_they_look(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    files.save_tensors(tmp_path / "x.safetensors", {"turned": whole.T, "part": whole[1:, ::2]}, "patch", {})
    tensors, _ = files.load_tensors(tmp_path / "x.safetensors", "patch")
    assert torch.equal(tensors["turned"], whole.T)
    assert torch.equal(tensors["part"], whole[1:, ::2])


def refused(path: Path) -> str:
    with pytest.raises(ValueError, match=path.name) as caught:
        files.load_tensors(path, "patch")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def good(tmp_path) -> Path:
    path = tmp_path / "good.safetensors"
    files.save_tensors(path, TENSORS, "patch", {"x": 1})
    return path


def test_a_file_cut_at_any_place_is_refused(good):
    data = good.read_bytes()
    for length in range(0, len(data), 7):
        good.write_bytes(data[:length])
        refused(good)


def test_a_file_of_another_kind_is_refused(good):
    with pytest.raises(ValueError, match="holds a patch, not a memory"):
        files.load_tensors(good, "memory")


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    safetensors.torch.save_file(TENSORS, tmp_path / "x.safetensors")
    assert "not one of this library's" in refused(tmp_path / "x.safetensors")


def test_nothing_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        files.load_tensors(tmp_path / "none", "patch")
    with pytest.raises(ValueError, match="is not a file"):
        files.load_tensors(tmp_path, "patch")


@pytest.mark.parametrize("about", ["", "[]", "7", "{", "null", "[" * 100_000, "1" * 5000])
def test_a_header_that_is_no_object_is_refused(tmp_path, about):
    header = {"format": files.FORMAT, "kind": "patch", "about": about}
    safetensors.torch.save_file(TENSORS, tmp_path / "x.safetensors", header)
    assert "damaged: its header is not" in refused(tmp_path / "x.safetensors")


def raw(header: bytes, length: int | None = None, data: bytes = b"") -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def entry(**changes) -> bytes:
    ours = {"format": files.FORMAT, "kind": "patch", "about": "{}"}
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}
    return json.dumps({"__metadata__": ours, "a": tensor}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        raw(b"", 2**63),
        raw(b"", 10**9),
        raw(b"{" * 1000),
        raw(b"[" * 100_000),
        raw(b"\xff\xfe{}"),
        raw(b"null"),
        raw(entry(shape=[2**40]), data=b"\0" * 8),
        raw(entry(shape=[-2]), data=b"\0" * 8),
        raw(entry(shape=[2**63, 2**63]), data=b"\0" * 8),
        raw(entry(data_offsets=[0, 10**12]), data=b"\0" * 8),
        raw(entry(data_offsets=[8, 0]), data=b"\0" * 8),
        raw(entry(dtype="F128"), data=b"\0" * 8),
        raw(entry(), data=b"\0" * 7),
        raw(entry(), data=b"\0" * 9),
    ],
)
def test_hostile_headers_are_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw(entry(), data=b"\0" * 8))
    assert files.load_tensors(path, "patch")[0]["a"].tolist() == [0, 0]
    path.write_bytes(content)
    refused(path)


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes.safetensors"
    path.write_bytes(data)
    refused(path)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_gives_other_numbers_or_is_refused(tmp_path_factory, place, flip):
    path = tmp_path_factory.getbasetemp() / "flipped.safetensors"
    files.save_tensors(path, TENSORS, "patch", {"x": 1})
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= flip
    path.write_bytes(data)
    try:
        files.load_tensors(path, "patch")
    except ValueError as error:
        assert path.name in str(error)  # noqa: PT017


def test_numbers_that_are_not_finite_are_named():
    files.finite({"a": torch.ones(2), "b": torch.ones(2, dtype=torch.int64)}, "file")
    with pytest.raises(ValueError, match="file holds values that are not finite, first in b"):
        files.finite({"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])}, "file")


@pytest.mark.parametrize("wrong", [[float("inf"), -float("inf")], [0.0, -float("inf")], [float("nan"), 1.0]])
def test_infinities_are_found_and_large_numbers_are_none(wrong):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        files.finite({"large": torch.full([10], torch.finfo(dtype).max, dtype=dtype)}, "file")
        with pytest.raises(ValueError, match="first in wrong"):
            files.finite({"wrong": torch.tensor(wrong, dtype=dtype)}, "file")
