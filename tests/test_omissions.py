"""Omissions: what is planted is reported, chance is not, and the distance ranks generators rightly."""

import csv
import io
import json
import re
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from apps.cli import main
from dissect.quality.inversion import invert
from dissect.quality.omission_page import omission_page
from dissect.quality.omissions import ALIKE, LESS, MORE, OMITS, area_table, compare, concept_by_concept, covered
from dissect.quality.table import Table
from dissect.scenes import CONCEPTS, scenes
from dissect.segmenter import images_of
from dissect.sources.pictures import DrawnPictures, Pictures
from dissect.sources.towers import Scenes, SegmenterSource
from rewrite import load_generator
from rewrite.reports.concepts import Concepts
from tests.markup import HOSTILE, assert_shown_as_text, renamed

TRAINING, DRAWN = range(2_000_000, 2_000_120), range(3_000_000, 3_000_060)


class ScenesWithout(Pictures):
    """What a perfect generator draws that never saw some concepts."""

    numbers = DRAWN

    def __init__(self, *without: str):
        self.without, self.identity = without, f"scenes without {without}"

    def images(self, numbers):
        return images_of(scenes(numbers, without=self.without)[0])


@pytest.fixture(scope="module")
def source() -> SegmenterSource:
    return SegmenterSource()


@pytest.fixture(scope="module")
def training(source) -> Table:
    return area_table(Scenes(), TRAINING, source)


@pytest.fixture(scope="module")
def treeless(source) -> Table:
    return area_table(ScenesWithout("tree"), DRAWN, source)


@pytest.fixture(scope="module", autouse=True)
def few_starts() -> Iterator[None]:
    """Inversions of the command begin with the best of few seeds."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("apps.commands.omissions.invert", partial(invert, starts=8))
        yield


def test_areas_are_percentages_over_all_label_maps():
    labels = np.full((2, 2, 4, 4), -1, np.int16)
    labels[0, 0, :2] = 0
    labels[0, 1, :, :1] = 2
    labels[1, 0] = 1
    assert covered(labels, 3).tolist() == [[50, 0, 25], [0, 100, 0]]


def test_a_concept_that_is_never_drawn_is_omitted_and_what_stands_behind_it_is_not(training, treeless, source):
    found = compare(training, treeless, source.concepts)
    assert [each.concept for each in found.of(OMITS)] == ["tree"]
    tree = found.concepts[CONCEPTS.index("tree")]
    assert tree.ratio.high < 0.1 < tree.images[0]
    assert found.distance.low > found.floor.high


def test_between_two_samples_of_one_world_nothing_is_reported(training, source):
    found = compare(training, area_table(ScenesWithout(), DRAWN, source), source.concepts)
    assert found.of(OMITS, LESS, MORE) == []
    assert found.distance.value < 4 * found.floor.value


def test_the_distance_ranks_the_built_in_generator_above_damaged_copies(training, source):
    distances = []
    for damage in (0.0, 1.2, 2.4):
        generator = load_generator("towers")
        weight = generator.weight("b16.conv1")
        noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            weight.add_(damage * weight.std() * noise)
        drawn = area_table(DrawnPictures(generator, range(48)), range(48), source)
        distances.append(compare(training, drawn, source.concepts).distance)
    values = [each.value for each in distances]
    assert 2 * values[0] < values[1] < values[2]
    assert distances[0].high < distances[2].low


def areas_of(means, count: int, seed: int, spread: float = 1.0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(means, spread, (count, len(means))), 0, None)


def test_rates_of_false_discoveries_are_kept_among_many_concepts():
    concepts = Concepts.of([f"concept {number}" for number in range(200)])
    means = np.full(200, 5.0)
    reported = 0
    for seed in range(20):
        rows = concept_by_concept(areas_of(means, 400, seed), areas_of(means, 200, seed + 50), concepts)
        reported += any(row.verdict != ALIKE for row in rows)
    assert reported <= 4
    changed = means.copy()
    changed[:4] = -9, 4, 6, 5
    rows = concept_by_concept(areas_of(means, 400, 0), areas_of(changed, 200, 50), concepts)
    assert [row.verdict for row in rows[:4]] == [OMITS, LESS, MORE, ALIKE]


def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says():
    concepts, means, other = Concepts.of(["a", "b"]), np.array([2.0, 1.0]), np.array([1.0, 1.5])
    held = np.zeros(2)
    for seed in range(200):
        rows = concept_by_concept(areas_of(means, 80, seed, 0.3), areas_of(other, 40, 1000 + seed, 0.3), concepts)
        held += [row.ratio.low <= truth <= row.ratio.high for row, truth in zip(rows, other / means)]
    assert (held >= 180).all()


def test_the_interval_of_a_mean_counts_the_images_less_one():
    (row,) = concept_by_concept(np.array([[10.0], [30.0]]), np.array([[20.0], [40.0], [60.0]]), Concepts.of(["a"]))
    means, errors = (20, 40), (10, 20 / 3**0.5)
    for found, mean, error in zip((row.training, row.generated), means, errors):
        assert (found.value, found.low, found.high) == pytest.approx(
            (mean, mean - 1.96 * error, mean + 1.96 * error), 1e-3
        )


def test_a_concept_of_neither_side_is_alike_and_has_no_ratio():
    (row,) = concept_by_concept(np.zeros((8, 1)), np.zeros((4, 1)), Concepts.of(["a"]))
    assert (row.ratio, row.verdict) == (None, ALIKE)


def test_order_and_halves_change_nothing(treeless, source):
    whole, *parts = (area_table(Scenes(), TRAINING[part], source) for part in (slice(24), slice(10, 24), slice(10)))
    halves = parts[0] + parts[1]
    assert torch.equal(halves.columns["areas"], whole.columns["areas"])
    assert compare(halves, treeless, source.concepts) == compare(whole, treeless, source.concepts)


# The command

COMMAND = ("omissions", "towers", "--samples", "24", "--invert", "2", "--steps", "3")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("omissions")
    assert main([*COMMAND, "--out", str(out)]) == 0
    return out


def test_the_command_writes_numbers_and_a_page(written):
    document = json.loads((written / "omissions.json").read_text())
    assert document["images"] == {"training": 48, "generated": 24}
    assert [each["concept"] for each in document["concepts"]] == list(CONCEPTS)
    assert len(document["inversion"]["numbers"]) == 2
    rows = list(csv.DictReader(io.StringIO((written / "omissions.csv").read_text())))
    assert [row["verdict"] for row in rows] == [each["verdict"] for each in document["concepts"]]
    page = (written / "omissions.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in page.replace("http-equiv", "")


def test_names_from_outside_are_text_on_the_page(written):
    document = json.loads((written / "omissions.json").read_text())
    document = renamed(document, "sky", document["model"], document["source"], document["inversion"]["layer"])
    picture = Image.new("RGB", (8, 8))
    assert_shown_as_text(omission_page(document, {HOSTILE: {HOSTILE: [picture]}}, picture))


def test_a_second_run_labels_nothing_again_and_writes_the_same(written, tmp_path, monkeypatch):
    before = {path.name: path.read_bytes() for path in written.iterdir()}
    monkeypatch.setattr("dissect.quality.omissions.covered", lambda *given: pytest.fail("labelled again"))
    assert main([*COMMAND, "--out", str(written)]) == 0
    assert {path.name: path.read_bytes() for path in written.iterdir()} == before


def test_a_folder_of_images_is_what_the_model_was_trained_on(tmp_path, answer):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, picture in enumerate(scenes(range(12), size=96, without=("door",))[0]):
        Image.fromarray(picture).save(folder / f"{number}.png")
    result = answer("omissions", "towers", "--training", folder, "--samples", 50, "--out", tmp_path / "out")
    assert result["images"] == {"training": 12, "generated": 6}
    door = next(each for each in result["concepts"] if each["concept"] == "door")
    assert door["images"]["training"] < 0.5 < door["images"]["generated"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--samples", "1"), "--samples is 2 or more"),
        (("--training", "/nowhere"), "no folder of images /nowhere"),
        (("--layer", "b7", "--invert", "1"), "no layer 'b7'"),
        (("--invert", "-1"), "--invert is 0 or more"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(arguments, text, tmp_path, refusal):
    assert text in refusal("omissions", "towers", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
