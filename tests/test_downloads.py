"""Downloads are resumed, checked, and never leave a wrong file behind. The server is one on this machine."""

import hashlib

import pytest

from rewrite.checkpoints.downloads import download
from tests.file_server import FileServer

GOOD = hashlib.sha256(FileServer.content).hexdigest()


def test_a_download_is_checked_and_renamed(server, tmp_path):
    _, address = server
    download(f"{address}/file", tmp_path / "new" / "file", GOOD)
    assert (tmp_path / "new" / "file").read_bytes() == FileServer.content
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_is_taken_up_again(server, tmp_path, ranges):
    handler, address = server
    handler.ranges, handler.breaks_after = ranges, 100_000
    with pytest.raises(ValueError, match="the connection ended after 100000 of 512000 bytes"):
        download(f"{address}/file", tmp_path / "file", GOOD)
    assert not (tmp_path / "file").exists()
    handler.breaks_after = None
    download(f"{address}/file", tmp_path / "file", GOOD)
    assert (tmp_path / "file").read_bytes() == FileServer.content
    assert handler.asked == (None, "bytes=100000-")


def test_a_download_that_was_whole_but_not_renamed_is_only_checked(server, tmp_path):
    _, address = server
    (tmp_path / "file.part").write_bytes(FileServer.content)
    download(f"{address}/file", tmp_path / "file", GOOD)
    assert (tmp_path / "file").read_bytes() == FileServer.content


def test_a_file_with_another_hash_is_thrown_away(server, tmp_path):
    _, address = server
    with pytest.raises(ValueError, match="its SHA-256 is"):
        download(f"{address}/file", tmp_path / "file", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_one_sentence(server, tmp_path):
    _, address = server
    with pytest.raises(ValueError, match=r"cannot download .*/missing: Not Found"):
        download(f"{address}/missing", tmp_path / "file", GOOD)
    with pytest.raises(ValueError, match=r"cannot download http://127\.0\.0\.1:1/"):
        download("http://127.0.0.1:1/", tmp_path / "file", GOOD)


def test_the_first_digits_of_a_hash_are_checked_too(server, tmp_path):
    _, address = server
    assert download(f"{address}/file", tmp_path / "file", GOOD[:8]) == GOOD
    with pytest.raises(ValueError, match="not 00000000…"):
        download(f"{address}/file", tmp_path / "other", "0" * 8)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("changed", [False, True])
def test_without_a_hash_only_the_same_version_is_taken_up_again(server, tmp_path, changed):
    handler, address = server
    handler.tag, handler.breaks_after = '"first"', 100_000
    with pytest.raises(ValueError, match="the connection ended"):
        download(f"{address}/file", tmp_path / "file", None)
    handler.breaks_after = None
    if changed:
        handler.tag, handler.content = '"second"', bytes(300_000)
    assert download(f"{address}/file", tmp_path / "file", None) == hashlib.sha256(handler.content).hexdigest()
    assert (tmp_path / "file").read_bytes() == handler.content
    assert handler.asked == (None, "bytes=100000-")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_hash_and_a_version_a_download_begins_anew(server, tmp_path, tag):
    handler, address = server
    handler.tag, handler.breaks_after = tag, 100_000
    with pytest.raises(ValueError, match="the connection ended"):
        download(f"{address}/file", tmp_path / "file", None)
    handler.breaks_after = None
    download(f"{address}/file", tmp_path / "file", None)
    assert (tmp_path / "file").read_bytes() == handler.content
    assert handler.asked == (None, None)


def test_a_web_page_is_no_checkpoint(server, tmp_path):
    handler, address = server
    handler.kind = "text/html; charset=utf-8"
    with pytest.raises(ValueError, match="a web page came in its place"):
        download(f"{address}/file", tmp_path / "file", None)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_says_where_the_file_belongs(tmp_path):
    with pytest.raises(ValueError, match=r"Connection refused; if .* another way, put it at .*/file$"):
        download("http://127.0.0.1:1/file", tmp_path / "file", None)
