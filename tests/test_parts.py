"""A dissection in parts equals a dissection in one go, to the byte."""

import pytest

from dissect.units.counting import begin, dissect
from dissect.units.dissection import load_dissections
from dissect.units.parts import Part, dissect_part, join_parts, uncounted_parts
from rewrite.storage import ledger
from tests.planted import PlantedProbe
from tests.test_dissection import StoppedError, StoppingProbe

HOW = {"level_samples": 100, "informative": True}
SAMPLES = 400


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    state = tmp_path_factory.mktemp("whole") / "units.safetensors"
    dissect(PlantedProbe(), SAMPLES, state=state, **HOW)
    return state.read_bytes()


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_parts_joined_are_the_whole(parts, whole, tmp_path):
    state = tmp_path / "units.safetensors"
    # In any order; with more parts than shards some have nothing to count.
    for number in sorted(range(1, parts + 1), key=lambda number: number % 3):
        dissect_part(PlantedProbe(), SAMPLES, Part(number, parts), state=state, **HOW)
    join_parts(state, parts)
    assert state.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["units.safetensors"]


def test_what_a_single_run_has_counted_is_not_counted_again(whole, tmp_path):
    state = tmp_path / "units.safetensors"
    dissect(PlantedProbe(), 128, state=state, **HOW)
    counts = [
        int(dissect_part(PlantedProbe(), SAMPLES, Part(number, 2), state=state, **HOW)["planted"].tally.images)
        for number in (1, 2)
    ]
    join_parts(state, 2)
    assert sum(counts) == SAMPLES - 128
    assert state.read_bytes() == whole


def test_parts_that_are_counted_are_not_given_out_again(tmp_path):
    state = tmp_path / "units.safetensors"
    run, numbers = begin(PlantedProbe(), SAMPLES, state=state, **HOW)

    def left() -> list[int]:
        return [part.number for part in uncounted_parts(PlantedProbe(), run, numbers, 9, state)]

    # Of nine parts of seven shards the first has nothing to count, and needs a file before they are joined.
    assert left() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    for number in (1, 3):
        dissect_part(PlantedProbe(), SAMPLES, Part(number, 9), state=state, **HOW)
    with pytest.raises(StoppedError):
        dissect_part(StoppingProbe(10), SAMPLES, Part(9, 9), state=state, **HOW)
    assert Part(9, 9).path(state).exists()
    assert left() == [2, 4, 5, 6, 7, 8, 9]


def test_a_part_that_was_ended_goes_on(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "SECONDS_BETWEEN_SAVES", 0.0)
    state = tmp_path / "units.safetensors"
    with pytest.raises(StoppedError):
        dissect_part(StoppingProbe(100), SAMPLES, Part(2, 2), state=state, **HOW)
    assert load_dissections(Part(2, 2).path(state))["planted"].tally.images == 64
    for number in (1, 2):
        dissect_part(PlantedProbe(), SAMPLES, Part(number, 2), state=state, **HOW)
    join_parts(state, 2)
    assert state.read_bytes() == whole


def test_a_missing_part_and_a_part_of_another_run_are_refused(tmp_path):
    state = tmp_path / "units.safetensors"
    dissect_part(PlantedProbe(), 256, Part(1, 2), state=state, **HOW)
    with pytest.raises(FileNotFoundError, match="units-2-of-2"):
        join_parts(state, 2)
    with pytest.raises(ValueError, match="does not go on from"):
        dissect_part(PlantedProbe(), 128, Part(1, 2), state=state, **HOW)
    Part(1, 2).path(state).rename(Part(2, 2).path(state))
    with pytest.raises(ValueError, match="holds the images 0 to 127, which"):
        dissect_part(PlantedProbe(), 256, Part(2, 2), state=state, **HOW)


@pytest.mark.parametrize("text", ["2", "0/3", "4/3", "a/b", "-1/2", "1/2/3"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(ValueError, match="2/4, the second of four"):
        Part.parse(text)
