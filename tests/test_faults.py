"""Commands that write several files, killed in between: a few of the kills of `python -m tests.faults kills`."""

import warnings
from collections.abc import Iterator
from functools import partial

import pytest

from tests import disks
from tests.fault_cases import Case, classifier_commands, generator_commands, held, wrong_after

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(autouse=True)
def may_fork() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks while threads run
        yield


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> dict[str, Case]:
    folder = tmp_path_factory.mktemp("commands")
    given = {**generator_commands(folder), **classifier_commands(folder)}
    return {name: Case(name, arguments) for name, arguments in given.items()}


@pytest.mark.parametrize(("name", "moments"), [("sample", (4, 7)), ("pairs", (6,))])
def test_files_that_belong_together_are_all_there_or_none_is_after_a_kill(commands, tmp_path, name, moments):
    case, place = commands[name], tmp_path / "place"
    place.mkdir()
    for moment in moments:
        assert case.start(place / "out", partial(disks.killed_at, place, moment)).end()[0] == -9
        assert held(place / "out") == {}
    if name == "sample":
        assert wrong_after(case, place / "out", {}) is None
