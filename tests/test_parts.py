"""Parts that earlier versions counted side by side are finished and joined to what one run counts, to the byte."""

import pytest

from dissect.units.counting import begin, count, dissect, ledger_of, start
from dissect.units.dissection import UNITS, dissections_of
from dissect.units.parts import Part, finish_parts
from tests.planted import PlantedProbe

HOW = {"level_samples": 40, "informative": True}
SAMPLES = 400


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    state = tmp_path_factory.mktemp("whole") / "units.safetensors"
    dissect(PlantedProbe(), SAMPLES, state=state, **HOW)
    return state.read_bytes()


def counted(part: Part, state, images: int | None = None) -> None:
    """Count a part as version 0.1 did: beside the file of the whole, or only some of its images."""
    run, numbers = begin(PlantedProbe(), SAMPLES, state=state, **HOW)
    mine = ledger_of(PlantedProbe(), part.path(state), run.identity, progress=False)
    start(mine, {view: one.emptied() for view, one in dissections_of(run.stages[UNITS], run.about).items()})
    count(mine, PlantedProbe(), part.numbers(run.left(UNITS, numbers))[:images])


@pytest.mark.parametrize("parts", [[(1, None)], [(3, None), (1, 64)], [(2, 64)]])
@pytest.mark.parametrize("before", [0, 128])
def test_half_counted_parts_are_finished_and_joined(parts, before, whole, tmp_path):
    state = tmp_path / "units.safetensors"
    if before:
        dissect(PlantedProbe(), before, state=state, **HOW)
    for number, images in parts:
        counted(Part(number, 3), state, images)
    finish_parts(PlantedProbe(), SAMPLES, state=state, **HOW)
    assert state.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["units.safetensors"]


def test_without_parts_nothing_is_counted(tmp_path):
    finish_parts(PlantedProbe(), SAMPLES, state=tmp_path / "none" / "units.safetensors", **HOW)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_run_is_refused(tmp_path):
    state = tmp_path / "units.safetensors"
    counted(Part(1, 2), state)
    with pytest.raises(ValueError, match="does not go on from"):
        finish_parts(PlantedProbe(), 128, state=state, **HOW)
    Part(1, 2).path(state).rename(Part(2, 2).path(state))
    with pytest.raises(ValueError, match="holds the images 0 to 191, which"):
        finish_parts(PlantedProbe(), SAMPLES, state=state, **HOW)
