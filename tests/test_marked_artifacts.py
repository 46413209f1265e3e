"""Artifacts by brush: marks as a file, the units that draw what is marked, the rule that erases it, and the command."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dissect.causes.intervention import Intervention, Prefix
from dissect.quality.artifacts import Artifacts
from dissect.quality.features import CallableFeatures
from dissect.quality.frechet import Moments
from dissect.quality.marked_units import MarkedImages
from dissect.quality.repairs import best_first, erased, erasing_rule, without_units
from rewrite import Latent, Mask, Patch, Region, Rule, measure
from rewrite.checkpoints import native
from rewrite.rules.marks import Marks
from tests.planted import LAYER, SMEARING, smearing_generator

SPACE = CallableFeatures(lambda images: F.avg_pool2d(images, 4).flatten(1), "colours of 4x4")


@pytest.fixture(scope="module")
def generator():
    return smearing_generator()


@pytest.fixture(scope="module")
def marks(generator) -> Marks:
    """What the planted units smear, in the first eight images where that is seen and is not everything."""
    prefix = Prefix.of(generator, LAYER, range(64))
    smeared = (prefix.images() - prefix.images(Intervention.off(SMEARING))).abs().mean(dim=1) > 0.3
    fit = [seed for seed, mask in enumerate(smeared) if 20 < mask.sum() < 200][:8]
    regions = [Region(Latent(seed), Mask.from_array(smeared[seed].numpy())) for seed in fit]
    return Marks(generator.fingerprint, tuple(regions))


@pytest.fixture(scope="module")
def artifacts(generator) -> Artifacts:
    clean = [
        Prefix.of(generator, LAYER, range(first, first + 16)).images(Intervention.off(SMEARING))
        for first in range(50_000, 50_192, 16)
    ]
    return Artifacts(generator, LAYER, SPACE, Moments.of(SPACE.vectors(torch.cat(clean)).numpy()))


def test_the_units_that_smear_are_proposed_before_all_others(generator, marks):
    proposed = MarkedImages(generator, LAYER, marks.regions).proposed()
    assert {each.unit for each in proposed[:3]} <= set(SMEARING)
    assert all(each.inside > 2 * each.outside for each in proposed)


def test_only_units_that_draw_what_is_marked_are_taken(artifacts):
    steps = artifacts.choose(range(48), among=(SMEARING[0], SMEARING[1], 3), most=4)
    assert steps[-1].units
    assert set(steps[-1].units) <= set(SMEARING[:2])


def test_agreement_is_one_where_a_unit_is_highest_under_the_marks_alone(generator):
    prefix = Prefix.of(generator, LAYER, [3])
    lit = prefix.output[0, 5] >= prefix.output[0, 5].flatten().topk(30).values[-1]
    marked = MarkedImages(generator, LAYER, [Region(Latent(3), Mask.from_array(lit.numpy()))])
    assert marked.agreement[5] == 1
    assert marked.agreement.argmax() == 5


def test_regions_of_one_image_are_marked_together(generator):
    upper, lower = np.zeros((2, 16, 16), dtype=bool)
    upper[:4], lower[12:] = True, True
    marked = MarkedImages(generator, LAYER, [Region(Latent(1), Mask.from_array(each)) for each in (upper, lower)])
    assert marked.masks.shape == (1, 16, 16)
    assert marked.masks.sum() == 8 * 16


def test_the_better_way_on_images_left_out_is_offered_first(generator, marks, artifacts):
    rule = replace(erasing_rule(generator, LAYER, marks.regions), settings=Rule.from_json(CHEAP).settings)
    repairs = [
        erased(generator, measure(generator, LAYER, 50), rule),
        without_units(generator, LAYER, SMEARING[:4]),
    ]
    offers = best_first(artifacts, repairs, range(1000, 1096))
    assert [each.kind for each, _ in offers] == ["units", "rule"]
    assert offers[0][1] > offers[1][1]
    before, after = artifacts.without({"off": SMEARING[:4], "on": ()}, range(1000, 1096)), offers[0][1]
    assert after == pytest.approx(artifacts.distance(before["on"]) - artifacts.distance(before["off"]), rel=0.02)


CHEAP = json.dumps(
    {
        "schema": "rewrite-rule/1",
        "name": "any",
        "model": "any",
        "layer": LAYER,
        "action": "erase",
        "paste": {"latent": {"seed": 0}, "mask": {"size": [16, 16], "runs": [[0, 1]]}},
        "settings": {"weights": "given"},
    }
)


# The file


def test_marks_are_the_same_after_they_were_saved(marks, tmp_path):
    named = Latent(4, z=(0.5, -1.0))
    more = replace(marks, regions=(*marks.regions, Region(named, Mask((16, 16), ((3, 2),)))), truncation=0.7, label=2)
    more.save(tmp_path / "marks.json")
    assert Marks.load(tmp_path / "marks.json") == more
    regions = json.loads((tmp_path / "marks.json").read_text())["regions"]
    assert regions[-1] == {"latent": {"seed": 4, "z": [0.5, -1.0]}, "mask": {"size": [16, 16], "runs": [[3, 2]]}}


def test_the_places_of_a_rule_are_marks(generator, marks, tmp_path):
    erasing_rule(generator, LAYER, marks.regions).save(tmp_path / "rule.json")
    assert Marks.load(tmp_path / "rule.json") == marks


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"regions": []}, "marks have 1 to 10000 regions, got 0"),
        ({"regions": [{"latent": {"seed": -1}, "mask": {"size": [16, 16], "runs": [[0, 1]]}}]}, "a seed lies between"),
        ({"schema": "rewrite-painting/1"}, 'must say "schema": "rewrite-marks/1"'),
        ({"note": "x"}, "marks has no field 'note'"),
        ({"truncation": 3}, "truncation lies between 0 and 2, got 3"),
    ],
)
def test_other_documents_are_refused_in_one_sentence(change, text, marks, tmp_path):
    path = tmp_path / "marks.json"
    path.write_text(json.dumps(json.loads(marks.to_json()) | change))
    with pytest.raises(ValueError, match="holds no valid marks") as found:
        Marks.load(path)
    assert text in str(found.value)


# The command


@pytest.fixture(scope="module")
def model(generator, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "smears.safetensors"
    config = {"z_dim": 16, "w_dim": 16, "mapping_layers": 2, "channels": dict(generator.network.design.channels)}
    native.save_stylegan2(path, generator.network.state_dict(), config, {"seed": 0})
    return path


FEW = ("--samples", 64, "--choose", 48, "--test", 48, "--good", 80, "--random", 1, "--most", 2)


def test_the_command_offers_two_ways_and_keeps_the_better_as_the_patch(model, marks, tmp_path, answer):
    marks.save(tmp_path / "marks.json")
    out = tmp_path / "out"
    result = answer("artifacts", model, "--layer", LAYER, *FEW, "--marks", tmp_path / "marks.json", "--out", out)
    assert {offer["kind"] for offer in result["offers"]} <= {"units", "rule"}
    left_out = [offer["left_out"] for offer in result["offers"]]
    assert left_out == sorted(left_out, reverse=True)
    assert result["marks"] == {"images": len(marks.images), "regions": len(marks.regions)}
    assert set(result["units"]) <= {each["unit"] for each in result["proposed"]}
    first = {"units": "units-off.safetensors", "rule": "erased.safetensors"}[result["offers"][0]["kind"]]
    kept, named = Patch.load(out / "patch.safetensors"), Patch.load(out / first)
    assert torch.equal(kept.left, named.left)
    assert Rule.load(out / "erased.json").action == "erase"
    page = (out / "artifacts.html").read_text()
    assert "Two ways to be rid of it" in page
    assert answer("inspect", tmp_path / "marks.json")["regions"] == len(marks.regions)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--units", "3"), "--units is for a search without marks"),
        (("--truncation", "0.5"), "--truncation is for a search without marks"),
    ],
)
def test_options_that_marks_answer_are_refused(arguments, text, model, marks, tmp_path, refusal):
    marks.save(tmp_path / "marks.json")
    given = ("--layer", LAYER, *FEW, "--marks", tmp_path / "marks.json", *arguments)
    assert text in refusal("artifacts", model, *given, "--out", tmp_path / "out")


def test_marks_of_another_model_are_refused(model, marks, tmp_path, refusal):
    replace(marks, model="0" * 16).save(tmp_path / "marks.json")
    given = ("--layer", LAYER, *FEW, "--marks", tmp_path / "marks.json")
    assert "these marks are on images of model 0000" in refusal("artifacts", model, *given, "--out", tmp_path / "out")
