"""The cache says what it holds, and gives up that and nothing else."""

import pytest

from apps.cli import main
from rewrite import Memory
from rewrite.checkpoints import registry


@pytest.fixture
def filled(cache, files, tmp_path):
    """A cache with one memory, a download and a part of one, and with somebody's own files in it."""
    assert (
        main(
            [
                "solve",
                str(files["rule"]),
                "--model",
                str(files["model"]),
                "--samples",
                "20",
                "--out",
                str(tmp_path / "patch.safetensors"),
            ]
        )
        == 0
    )
    first, second, *_ = (registry.find(name) for name in registry.names())
    first.path.parent.mkdir()
    first.path.write_bytes(b"x" * 3_000_000)
    first.path.with_name(first.path.name + ".sha256").write_text("0  a")
    second.path.with_name(second.path.name + ".part").write_bytes(b"y" * 1_000_000)
    Memory.load(files["memory"]).save(cache / "my-memory.safetensors")
    (cache / "checkpoints" / "mine.pt").write_bytes(b"mine")
    return cache


def test_the_cache_says_where_it_is_and_what_it_holds(filled, answer, capsys):
    found = answer("cache")
    assert found["folder"] == str(filled)
    assert found["kept"]["memories"]["files"] == 1
    assert found["kept"]["checkpoints"] == {"files": 3, "bytes": 4_000_004}
    assert main(["cache"]) == 0
    assert capsys.readouterr().out.splitlines()[::2] == [str(filled), "checkpoints: 3 files, 4.0 MB"]


def test_a_kind_is_cleared_and_the_other_stays(filled, answer):
    assert answer("cache", "--clear", "memories")["cleared"] == ["memories"]
    found = answer("cache")["kept"]
    assert (found["memories"]["files"], found["checkpoints"]["files"]) == (0, 3)


def test_clearing_all_leaves_what_the_library_did_not_put_there(filled, answer):
    answer("cache", "--clear", "all")
    left = sorted(path.name for path in filled.rglob("*") if path.is_file())
    assert left == ["mine.pt", "my-memory.safetensors"]


def test_a_cache_that_is_not_there_yet_is_empty(cache, monkeypatch, answer):
    monkeypatch.setenv("REWRITE_CACHE", str(cache / "none"))
    assert answer("cache")["kept"]["memories"] == {"files": 0, "bytes": 0}
    assert answer("cache", "--clear", "all")["cleared"] == ["memories", "checkpoints"]
    assert not (cache / "none").exists()
