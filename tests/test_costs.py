"""What a small file may cost: one sentence, 2 s and 500 MB, whatever it asks for."""

from pathlib import Path

import pytest

from dissect import Annotations, Painting
from dissect.segmenter import load_segmenter
from dissect.sources.names import unique
from rewrite import load_discriminator, load_generator
from rewrite.checkpoints.archives import tensors
from rewrite.checkpoints.containers import describe
from rewrite.checkpoints.cursor import DamagedError
from tests import costly
from tests.guards import limited, outcome
from tests.peak import Peak

SECONDS, MOST_MEMORY, LARGEST = 2, 500 * 2**20, 4 * 2**20


def cost(act, path: Path) -> str:
    assert path.stat().st_size <= LARGEST
    peak = Peak()
    peak.start()
    said = outcome(act, path, SECONDS)
    assert peak.bytes() < MOST_MEMORY
    assert len(said) < 400
    return said


@pytest.mark.parametrize("name", costly.CHECKPOINTS)
def test_a_checkpoint_costs_no_more_than_its_size(tmp_path, name):
    path = tmp_path / "file"
    path.write_bytes(costly.CHECKPOINTS[name]())
    assert str(path) in cost(load_generator, path)
    assert str(path) in cost(load_discriminator, path)
    cost(describe, path)


@pytest.mark.parametrize("name", costly.SEGMENTERS)
def test_a_segmenter_is_built_only_as_large_as_its_tensors(tmp_path, name):
    path = tmp_path / "file"
    path.write_bytes(costly.SEGMENTERS[name]())
    assert "is damaged" in cost(load_segmenter, path)


def test_many_strokes_with_many_units_cost_no_more_than_their_size(tmp_path):
    path = tmp_path / "strokes.json"
    path.write_bytes(costly.painting(1))
    Painting.load(path)  # the checks of types are compiled as it is first called
    path.write_bytes(costly.painting())
    assert cost(Painting.load, path) == "opened"


def test_equal_names_are_numbered_in_the_time_that_different_ones_take():
    with limited(SECONDS):
        assert unique(["a"] * 65_000)[-1] == "a 65000"
        assert unique(["a", "a 3", "a", "a", "a 3"]) == ("a", "a 3", "a 2", "a 4", "a 3 2")


def test_a_list_of_equal_names_costs_no_more_than_its_size(tmp_path):
    (tmp_path / "names.txt").write_text("a\n" * 65_000)
    for name in ("images", "annotations"):
        (tmp_path / name).mkdir()
    assert "holds no picture with labels" in outcome(Annotations, tmp_path, SECONDS)


def test_dictionaries_that_hold_one_another_twice_have_an_end():
    content: dict = {}
    for _ in range(40):
        content = {"a": content, "b": content}
    with limited(SECONDS), pytest.raises(DamagedError, match="takes more than"):
        list(tensors(content))
