"""Whatever ends a writer, its files are those before or those after; links, modes and other names of a file stay."""

import os
import signal
import stat
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.editor.models import checkpoints
from rewrite.storage import swapped, whole
from rewrite.storage.whole import settle, together, write_together, write_whole

STORAGE = str(Path(whole.__file__).parent)
NAMES = ("report.html", "report.json", "before-after.png")
OLD, NEW = ({name: f"{age} {name}".encode() for name in NAMES} for age in ("old", "new"))


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def killed_at_line(number: int, act: Callable[[], object]) -> bool:
    """Run a function in a process that is killed before it runs its line of that number of the storage's files.

    Returns:
        Whether it came so far.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks while threads run; the child starts none
        child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    left = number

    def trace(frame, event, _):
        nonlocal left
        if not frame.f_code.co_filename.startswith(STORAGE):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    try:
        sys.settrace(trace)
        act()
    finally:
        sys.settrace(None)
        os._exit(0)


@pytest.fixture(params=[True, False], ids=["swapped", "with a journal"])
def swaps(request, monkeypatch) -> bool:
    if not request.param:
        monkeypatch.setattr(swapped, "possible", lambda folder, targets: False)
    return request.param


@pytest.mark.parametrize("there", [True, False], ids=["over an old folder", "into a new folder"])
def test_a_group_of_files_is_all_old_or_all_new_whenever_its_writer_is_killed(tmp_path, swaps, there):
    number, seen = 0, set()
    while True:
        folder = tmp_path / str(number) / "report"
        before = OLD if there else {}
        folder.parent.mkdir()
        for name, content in before.items():
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        killed = killed_at_line(number, lambda folder=folder: write_together(folder, NEW))
        if not swaps:
            settle(folder)
        found = {name: content for name, content in content_of(folder).items() if not name.startswith(whole.MARK)}
        assert found in (before, NEW)
        seen.add(found == NEW)
        settle(folder.parent)
        settle(folder)
        assert content_of(folder) == found
        assert set(folder.parent.iterdir()) <= {folder}
        if not killed:
            break
        number += 29
    assert seen == {True, False}
    assert number > 50


@pytest.mark.parametrize("there", [True, False], ids=["over old files", "new files"])
def test_files_of_several_writers_are_all_old_or_all_new_whenever_they_are_killed(tmp_path, swaps, there):
    number, seen = 0, set()
    old = {"model.pt": b"old", "README.md": b"old", "beside": b"same"}
    new = {"model.pt": b"new model", "README.md": b"new card"}
    while True:
        folder = tmp_path / str(number) / "out"
        before = old if there else {"beside": b"same"}
        folder.mkdir(parents=True)
        for name, content in before.items():
            (folder / name).write_bytes(content)

        def write(folder: Path = folder) -> None:
            with together():
                write_whole(folder / "model.pt", lambda path: path.write_bytes(new["model.pt"]))
                write_together(folder, {"README.md": new["README.md"]})

        killed = killed_at_line(number, write)
        settle(folder.parent)
        settle(folder)
        found = content_of(folder)
        assert found in (before, {**before, **new})
        seen.add(found == before)
        if not killed:
            break
        number += 47
    assert seen == {True, False}


def test_a_folder_that_a_killed_writer_of_several_files_left_is_taken_away_by_the_next(tmp_path):
    left = tmp_path / f"{whole.MARK}{'0' * 16}"
    left.mkdir()
    (left / "model.pt").write_bytes(b"half")
    with together():
        for name in ("model.pt", "README.md"):
            write_whole(tmp_path / "out" / name, lambda path: path.write_bytes(b"new"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_of_several_writers_that_fail_none_has_written(tmp_path):
    @together()
    def write() -> None:
        write_whole(tmp_path / "new" / "model.pt", lambda path: path.write_bytes(b"new"))
        (tmp_path / "card").mkdir()
        write_whole(tmp_path / "card", lambda path: path.write_bytes(b"new"))

    with pytest.raises(ValueError, match="card: it is a folder"):
        write()
    assert list((tmp_path / "new").iterdir()) == []


def test_several_files_of_several_folders_are_put_in_place_and_a_failure_puts_the_old_ones_back(tmp_path, monkeypatch):
    paths = [tmp_path / "one" / "model.pt", tmp_path / "two" / "card.md"]

    @together()
    def write(content: str) -> None:
        for path in paths:
            write_whole(path, lambda made: made.write_text(content))

    write("old")
    replace = Path.replace

    def fail(path: Path, target: Path) -> Path:
        if target.name == "card.md" and path.read_text() == "new":
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ValueError, match="No space left on device"):
        write("new")
    assert [path.read_text() for path in paths] == ["old", "old"]
    assert [len(list(path.parent.iterdir())) for path in paths] == [1, 1]


def test_a_file_with_a_second_name_is_whole_after_the_next_run_whenever_its_writer_is_killed(tmp_path):
    number, killed = 0, True
    while killed:
        folder = tmp_path / str(number)
        folder.mkdir()
        path, second = folder / "patch", folder / "second"
        path.write_bytes(b"old" * 1000)
        second.hardlink_to(path)
        killed = killed_at_line(number, lambda path=path: write_whole(path, lambda made: made.write_bytes(b"new")))
        settle(folder)
        assert path.samefile(second)
        assert path.read_bytes() in (b"old" * 1000, b"new")
        assert set(folder.iterdir()) == {path, second}
        number += 9
    assert second.read_bytes() == b"new"


def test_what_a_killed_run_left_is_taken_away_by_the_next_and_what_a_living_one_makes_is_not(tmp_path):
    with whole.temporary(tmp_path, ".png") as living:
        left = tmp_path / f"{whole.MARK}{'0' * 16}.safetensors"
        left.write_bytes(b"half")
        other = tmp_path / f"{whole.MARK}notes.txt"
        other.write_bytes(b"a user's")
        assert checkpoints(tmp_path) == []
        write_whole(tmp_path / "rule.json", lambda path: path.write_bytes(b"{}"))
        assert set(tmp_path.iterdir()) == {living, other, tmp_path / "rule.json"}


@pytest.mark.parametrize("target", ["../precious", "/precious", "", "..", 7])
def test_a_journal_of_a_stranger_leads_out_of_no_folder(tmp_path, target):
    folder, precious = tmp_path / "folder", tmp_path / "precious"
    folder.mkdir()
    precious.write_text("mine")
    made = f"{whole.MARK}{'0' * 16}"
    (folder / made).write_text("theirs")
    document = f'{{"{made}": {target!r}}}\n'.replace("'", '"')
    (folder / f"{whole.MARK}{'1' * 16}.journal").write_text(document.replace("/precious", str(precious)))
    settle(folder)
    assert precious.read_text() == "mine"
    assert list(folder.iterdir()) == []


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "far").mkdir()
    link = tmp_path / "near"
    link.symlink_to(tmp_path / "far" / "file")
    for content in (b"first", b"second"):
        write_whole(link, lambda path, content=content: path.write_bytes(content))
        assert link.is_symlink()
        assert (tmp_path / "far" / "file").read_bytes() == content
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").symlink_to(tmp_path / "far" / "file")
    write_together(tmp_path / "report", NEW)
    assert (tmp_path / "far" / "file").read_bytes() == NEW["report.json"]
    assert sorted(content_of(tmp_path / "report")) == sorted(NEW)


def test_mode_owner_and_other_names_of_a_file_stay(tmp_path, swaps):
    folder = tmp_path / "report"
    folder.mkdir(mode=0o750)
    for name, mode in zip(NAMES, (0o600, 0o640, 0o444), strict=True):
        (folder / name).write_bytes(OLD[name])
        (folder / name).chmod(mode)
        if os.geteuid() == 0:
            os.chown(folder / name, 1234, 1234)
    (folder / "beside").write_text("stays")
    before = {path.name: path.stat() for path in (folder, *folder.iterdir())}
    write_together(folder, NEW)
    after = {path.name: path.stat() for path in (folder, *folder.iterdir())}
    for name, found in after.items():
        assert (found.st_mode, found.st_uid) == (before[name].st_mode, before[name].st_uid)
    assert content_of(folder) == {**NEW, "beside": b"stays"}
    second = tmp_path / "second"
    second.hardlink_to(folder / NAMES[0])
    write_together(folder, {**NEW, NAMES[0]: b"newer"})
    write_whole(folder / NAMES[0], lambda path: path.write_bytes(second.read_bytes() + b" still"))
    assert second.read_bytes() == b"newer still"


def test_a_folder_in_which_somebody_works_stays_the_same_folder(tmp_path, monkeypatch):
    folder = tmp_path / "report"
    write_together(folder, OLD)
    monkeypatch.chdir(folder)
    write_together(".", NEW)
    assert content_of(Path()) == NEW
    assert Path().samefile(folder)


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a device", "folder"])
def test_what_is_no_place_for_a_file_is_refused_and_not_waited_for(tmp_path, kind):
    path = Path("/dev/null") if kind == "device" else tmp_path / "place"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind != "device":
        path.symlink_to("/dev/null")
    with pytest.raises(ValueError, match=r"cannot write .*: it is (a folder|not a file)"):
        write_whole(path, lambda made: made.write_bytes(b"x"))
    assert stat.S_ISREG(path.stat().st_mode) is False


@pytest.mark.parametrize("suffix", ["", ".json", "." + "s" * 200])
def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path, suffix):
    name = "n" * (255 - len(suffix)) + suffix
    write_whole(tmp_path / name, lambda path: path.write_bytes(b"long"))
    write_together(tmp_path, {name: b"longer"})
    assert (tmp_path / name).read_bytes() == b"longer"
