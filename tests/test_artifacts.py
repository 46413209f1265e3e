"""Artifact units: planted ones are found, chosen on some seeds and reported on others; the command and its page."""

import csv
import io
import json
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from apps.cli import main
from dissect.causes.intervention import Intervention, Prefix
from dissect.quality.artifact_page import artifact_page
from dissect.quality.artifacts import BATCH, Artifacts, outcomes, random_sets, typical
from dissect.quality.features import CallableFeatures
from dissect.quality.frechet import Moments
from dissect.quality.table import Table
from rewrite import Patch, load_generator
from rewrite.checkpoints import native
from rewrite.generators.batches import batched
from tests.markup import assert_shown_as_text, renamed
from tests.planted import LAYER, SMEARING, smearing_generator

SPACE = CallableFeatures(lambda images: F.avg_pool2d(images, 4).flatten(1), "colours of 4x4")


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    """The generator's images as they would be without its planted units."""
    generator, parts = smearing_generator(), batched(range(50_000, 50_256), BATCH)
    clean = [Prefix.of(generator, LAYER, part).images(Intervention.off(SMEARING)) for part in parts]
    return SPACE.vectors(torch.cat(clean)).numpy()


@pytest.fixture(scope="module")
def artifacts(reference) -> Artifacts:
    return Artifacts(smearing_generator(), LAYER, SPACE, Moments.of(reference))


@pytest.fixture(scope="module")
def steps(artifacts):
    return artifacts.choose(range(160), most=8)


def test_at_least_nine_of_ten_planted_units_are_among_the_first_proposed(steps):
    proposed = set(steps[-1].units[: len(SMEARING)])
    assert len(proposed & set(SMEARING)) >= 0.9 * len(SMEARING)


def test_as_many_are_taken_as_were_planted_and_every_one_helps(steps):
    assert len(steps[-1].units) == len(SMEARING)
    distances = [step.distance for step in steps]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.05 * distances[0]


def test_unseen_images_come_closer_without_them_and_not_without_random_units(artifacts, steps, reference):
    sets = {"before": (), "after": steps[-1].units, **random_sets(artifacts.units, steps[-1].units, 2)}
    before, found = outcomes(artifacts.without(sets, range(90_000, 90_200)), sets, reference)
    assert before.low < before.value
    after = found.pop("after")
    assert after.better
    assert after.distance.high < before.low
    assert after.fall.low <= before.value - after.distance.value <= after.fall.high
    for each in found.values():
        assert not set(each.units) & set(SMEARING)
        assert each.fall.value < 0.2 * after.fall.value


def test_slopes_are_those_of_the_distance(artifacts):
    """Against the distance with one unit scaled by a little more and a little less than 1."""
    parts = [Prefix.of(artifacts.generator, LAYER, part) for part in batched(range(48), BATCH)]
    slopes = artifacts.slopes(parts, (), SPACE.vectors(torch.cat([part.images() for part in parts])).numpy())
    for unit in (SMEARING[0], 0, 1):
        off = []
        for factor in (0.98, 1.02):
            images = torch.cat([part.images(Intervention.scaled([unit], factor)) for part in parts])
            off.append(artifacts.distance(SPACE.vectors(images).numpy()))
        assert slopes[unit].item() == pytest.approx((off[0] - off[1]) / 0.04, rel=0.02, abs=0.02)


def test_units_are_ranked_by_the_images_that_drive_them_most():
    random = np.random.default_rng(0)
    features, peaks = random.standard_normal((100, 3)), random.standard_normal((100, 6))
    bad = random.choice(100, 10, replace=False)
    features[bad] += 5
    peaks[bad, 4] += 10
    seen = Table(torch.arange(100), {"features": torch.tensor(features), "peaks": torch.tensor(peaks)})
    ranked = Artifacts(smearing_generator(), LAYER, SPACE, Moments.of(random.standard_normal((400, 3))))
    distances = ranked.distances(seen)
    assert distances.argmax() == 4
    assert distances[4] == pytest.approx(ranked.distance(features[bad]))


def test_what_is_seen_hangs_on_no_batch_and_halves_merge_exactly(artifacts):
    whole = artifacts.observe(range(128))
    halves = artifacts.observe(range(64, 128)) + artifacts.observe(range(64))
    odd = artifacts.observe(range(30, 37))
    assert torch.equal(whole.numbers, halves.numbers)
    for name in ("peaks", "features"):
        assert torch.equal(whole.columns[name], halves.columns[name])
        torch.testing.assert_close(whole.columns[name][30:37], odd.columns[name], rtol=1e-5, atol=1e-6)


def test_random_sets_are_others_and_as_many():
    sets = random_sets(10, (1, 2, 3), 4)
    assert len(sets) == len(set(sets.values())) == 4
    assert all(len(units) == 3 and not {1, 2, 3} & set(units) for units in sets.values())
    with pytest.raises(ValueError, match="need as many others, the layer has 2"):
        random_sets(5, (0, 1, 2), 1)


def test_typical_images_leave_out_those_that_lie_apart():
    points = np.concatenate(
        [np.random.default_rng(0).standard_normal((50, 2)), np.full((5, 2), 40.0) * np.eye(2)[[0] * 5]]
    )
    points[50:, 1] = 20 * np.arange(5)
    assert np.abs(typical(points, 0.9)).max() < 10


# The command


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    generator = smearing_generator()
    path = tmp_path_factory.mktemp("model") / "smears.safetensors"
    config = {"z_dim": 16, "w_dim": 16, "mapping_layers": 2, "channels": dict(generator.network.design.channels)}
    native.save_stylegan2(path, generator.network.state_dict(), config, {"seed": 0})
    return path


FEW = ("--samples", 64, "--choose", 32, "--test", 48, "--good", 80, "--random", 2)
SMALL = (*FEW, "--most", 2)


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("artifacts")
    assert main(list(map(str, ("artifacts", model, "--layer", LAYER, *SMALL, "--out", out)))) == 0
    return out


def test_the_command_writes_numbers_pictures_and_a_page(written):
    document = json.loads((written / "artifacts.json").read_text())
    assert document["units"] == document["steps"][-1]["units"]
    assert document["before"]["low"] <= document["before"]["high"]
    rows = list(csv.DictReader(io.StringIO((written / "artifacts.csv").read_text())))
    assert [int(row["unit"]) for row in rows] == [each["unit"] for each in document["ranking"]]
    assert sum(int(row["taken"]) for row in rows) == len(document["units"])
    page = (written / "artifacts.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_names_from_outside_are_text_on_the_page(written):
    document = json.loads((written / "artifacts.json").read_text())
    document = renamed(document, LAYER, document["model"], document["features"])
    assert_shown_as_text(artifact_page(document, (), {}))


def test_the_patch_draws_what_was_measured(model, written):
    units = json.loads((written / "artifacts.json").read_text())["units"]
    generator, seeds = load_generator(model), range(1_000_000, 1_000_008)
    generator.noise = "none"
    wanted = Prefix.of(generator, LAYER, seeds).images(Intervention.off(units))
    with Patch.load(written / "patch.safetensors").applied(generator):
        torch.testing.assert_close(generator.sample(seeds), wanted, rtol=0, atol=1e-4)


def test_a_run_that_was_cut_short_ends_as_an_undisturbed_one(model, written, tmp_path, monkeypatch):
    arguments = list(map(str, ("artifacts", model, "--layer", LAYER, *SMALL, "--out", tmp_path)))
    whole, cut = Artifacts.without, []

    def stopped(*given, **named):
        cut.append(True)
        raise KeyboardInterrupt

    monkeypatch.setattr(Artifacts, "without", stopped)
    assert main(arguments) == 130
    assert not (tmp_path / "artifacts.json").exists()
    monkeypatch.setattr(Artifacts, "without", whole)
    monkeypatch.setattr(Artifacts, "_best", lambda *given: pytest.fail("chosen again") if len(cut) > 1 else None)
    assert main(arguments) == 0
    for name in ("artifacts.json", "artifacts.csv", "artifacts.html"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes(), name


def test_units_that_are_given_are_tested_and_not_chosen(model, tmp_path, answer):
    units = ("--units", "2,7", "--reference", "seeds")
    result = answer("artifacts", model, "--layer", LAYER, *FEW, *units, "--out", tmp_path)
    assert result["units"] == [2, 7]
    assert result["after"]["units"] == [2, 7]
    assert [len(each["units"]) for each in result["random"]] == [2, 2]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--layer", "b99.conv1"), "no layer 'b99.conv1'"),
        (("--layer", LAYER, "--units", "2,2"), "each named once"),
        (("--layer", LAYER, "--units", "x"), "units are numbers"),
        (("--layer", LAYER, "--features", "eyes"), "there are no features 'eyes'"),
        (("--layer", LAYER, "--features", "discriminator"), "no discriminator"),
        (("--layer", LAYER, "--reference", "/nowhere"), "no folder of images /nowhere"),
        (("--layer", LAYER, "--choose", "70"), "--choose takes from the 64 images"),
        (("--layer", LAYER, "--test", "1"), "--test is 2 or more"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(arguments, text, model, tmp_path, refusal):
    out = tmp_path / "out"
    assert text in refusal("artifacts", model, *FEW, *arguments, "--out", out)
    assert not (out / "artifacts.json").exists()
