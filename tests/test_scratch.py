"""Folders for what is made on the way: closed to others, and gone afterwards, also after a kill."""

import os
import signal
import stat
import warnings

import pytest

from rewrite.storage.scratch import scratch


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_closed_to_others_and_gone_at_the_end(place):
    with scratch() as made:
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        (made / "file").write_text("x")
    assert list(place.iterdir()) == []


def test_what_a_killed_run_left_goes_with_the_next_and_what_a_living_one_has_stays(place):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks while threads run
        child = os.fork()
    if not child:
        with scratch() as made:
            (made / "file").write_text("x")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(list(place.iterdir())) == 1
    (place / "other").mkdir()
    with scratch() as first, scratch() as second:
        assert sorted(place.iterdir()) == sorted([first, second, place / "other"])
