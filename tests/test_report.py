"""A report says what a patch did, by numbers that can be checked by hand."""

import json
import re
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision

from dissect import CallableSource
from rewrite import (
    Aim,
    Concepts,
    Latent,
    Mask,
    Patch,
    Region,
    Rule,
    Settings,
    measure,
    measure_effect,
    report_on,
    solve,
)
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.goals.pasted import MOVED
from rewrite.goals.scene import latents_of
from rewrite.reports.effect import movement
from rewrite.reports.page import page
from rewrite.reports.perceptual import Perceptual
from rewrite.reports.places import measure_places, missing
from rewrite.reports.report import unseen_seeds, worst_seeds
from rewrite.reports.verdict import Expectation
from tests.markup import HOSTILE, assert_shown_as_text

CONCEPTS = Concepts.of(("sky", "tree", "dome"))
SKY = 0
LAYER = "b16.conv1"


def label_by_brightness(images: torch.Tensor, numbers) -> torch.Tensor:
    grey = images.mean(dim=1)
    return (grey > -0.3).short() + (grey > 0.3).short()


BRIGHTNESS = CallableSource(label_by_brightness, CONCEPTS)


@pytest.fixture
def rule(tiny_generator) -> Rule:
    corner, middle = np.zeros((16, 16), dtype=bool), np.zeros((16, 16), dtype=bool)
    corner[2:6, 2:6], middle[8:12, 8:12] = True, True
    return Rule(
        HOSTILE,
        tiny_generator.fingerprint,
        LAYER,
        copy=(Region(Latent(3), Mask.from_array(corner)),),
        context=tuple(Region(Latent(seed), Mask.from_array(middle)) for seed in (1, 2)),
        settings=Settings(others=0.1),
        effect={"from": ["dome"], "to": "tree"},
        expect={"efficacy": 0.99, "outside": 0.0},
    )


@pytest.fixture
def patch(tiny_generator, rule) -> Patch:
    return solve(tiny_generator, measure(tiny_generator, LAYER, 30), rule)


def test_movement_is_counted_inside_and_outside_a_region():
    before, after = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    after[0, 0, 0, 0], after[0, 1, 1, 1] = 0.6, MOVED / 2
    where = np.array([[[True, False], [False, False]]])
    inside, outside = movement(before, after, where), movement(before, after, ~where)
    assert inside.difference == pytest.approx(0.2)
    assert inside.moved == 1
    assert outside.difference == pytest.approx(MOVED / 2 / 9)
    assert outside.moved == 0
    assert np.isnan(movement(before, after, np.zeros((1, 2, 2), dtype=bool)).moved).all()


def test_nothing_changes_without_a_patch(tiny_generator, rule):
    effect = measure_effect(tiny_generator, lambda: nullcontext(), range(5), source=BRIGHTNESS, batch=2)
    assert effect.movement.difference.tolist() == [0] * 5
    assert effect.counts.changed.sum() == 0
    assert effect.map.max() == 0
    assert worst_seeds(effect) == ()
    assert missing(tiny_generator, lambda: nullcontext(), rule) == pytest.approx(1)


def test_what_is_measured_does_not_hang_on_the_batch(tiny_generator, patch):
    found = [
        measure_effect(
            tiny_generator,
            lambda: patch.applied(tiny_generator),
            range(7),
            source=BRIGHTNESS,
            batch=batch,
        )
        for batch in (3, 7)
    ]
    np.testing.assert_allclose(found[0].map, found[1].map, atol=1e-4)
    np.testing.assert_allclose(found[0].movement.difference, found[1].movement.difference, atol=1e-4)
    assert found[0].seeds == found[1].seeds


def test_the_measured_residual_is_the_one_that_was_forecast(tiny_generator, rule, patch):
    measured = missing(tiny_generator, lambda: patch.applied(tiny_generator), rule)
    assert measured == pytest.approx(patch.forecast["residual"], abs=1e-3)
    nothing = missing(tiny_generator, lambda: patch.applied(tiny_generator, 0.0), rule)
    assert nothing == pytest.approx(1)


def test_places_are_measured_for_layers_with_groups(plain_generator):
    mask = np.zeros((12, 12), dtype=bool)
    mask[4:8, 4:8] = True
    region = Region(Latent(1), Mask.from_array(mask))
    source = Region(Latent(2), Mask.from_array(np.roll(mask, 3, axis=1)))
    rule = Rule("grouped", plain_generator.fingerprint, "grouped", copy=(source,), context=(region,))
    patch = solve(plain_generator, measure(plain_generator, "grouped", 20), rule)
    found = measure_places(plain_generator, lambda: patch.applied(plain_generator), rule)
    assert found.residual == pytest.approx(patch.forecast["residual"], abs=1e-3)
    assert found.inside.difference.mean() > found.outside.difference.mean()


def test_a_latent_by_value_is_used_as_it_is(tiny_generator):
    values = tuple(float(x) for x in range(8))
    found = latents_of(tiny_generator, [Latent(4), Latent(5, values)])
    torch.testing.assert_close(found.z[0], tiny_generator.latents([4]).z[0])
    assert found.z[1].tolist() == list(values)
    assert found.seeds == (4, 5)


def test_a_report_by_concept_holds_the_rule_against_what_it_expects(tiny_generator, patch, tmp_path):
    found = report_on(tiny_generator, patch, seeds=range(10, 16), source=BRIGHTNESS)
    assert found.verdict.kind == "concepts"
    assert {expectation.measure for expectation in found.failed} == {"efficacy", "outside"}
    found.save(tmp_path / "new" / "report")
    document = json.loads((tmp_path / "new" / "report" / "report.json").read_text())
    assert document["measured_by"] == "concepts"
    assert document["images"] == len(document["per_image"]) == 6
    assert 0 <= document["efficacy"] <= 1
    assert document["outside_interval"][0] <= document["outside"] <= document["outside_interval"][1]
    assert document["outside_lenient"] == document["outside"]
    assert document["outside_lenient_interval"] == document["outside_interval"]
    assert (
        document["outside_strict_interval"][0] <= document["outside_strict"] <= document["outside_strict_interval"][1]
    )
    assert [each["met"] for each in document["expectations"]] == [False, False]
    assert document["patches"][0]["forecast"].keys() == patch.forecast.keys()
    total = sum(row["source_pixels"] for row in document["per_image"])
    reached = sum(row["source_pixels"] * (row["efficacy"] or 0) for row in document["per_image"])
    assert document["efficacy"] == pytest.approx(reached / total, abs=1e-4)


def test_outside_is_told_strictly_first_and_expectations_are_held_against_the_lenient_count(tiny_generator, patch):
    found = report_on(tiny_generator, patch, seeds=range(10, 16), source=BRIGHTNESS)
    document, text = found.document(), page(found.document(), found.shown, (), found.shown[0].before)
    assert document["outside_strict"] == pytest.approx(found.effect.counts.strict_outside_change().value, abs=1e-5)
    assert document["outside_strict"] != document["outside"]
    strict, lenient = (text.index(f"Change outside, {name}<b>") for name in ("strict", "lenient"))
    assert strict < lenient < text.index("expected at most 0.0 %")
    for row in document["per_image"]:
        assert row["outside"] == row["outside_lenient"]
        assert row["outside_strict"] is not None
    told = re.findall(r"<th[^>]*>(change outside[^<]*)</th>", found._repr_html_())
    assert told == ["change outside, strict", "change outside, lenient"]


def test_where_no_concepts_were_counted_there_is_one_figure_of_change_outside(tiny_generator, patch):
    for each in (patch, replace(patch, rules=())):
        found = report_on(tiny_generator, each, seeds=range(2))
        document, text = found.document(), page(found.document(), found.shown, (), found.shown[0].before)
        assert document["outside_strict"] is document["outside_lenient"] is None
        assert text.count("Change outside<b>") == 1
        assert "strict and lenient are one figure" in text


def test_a_report_without_a_source_of_concepts_speaks_of_the_rules_own_places(tiny_generator, patch):
    found = report_on(tiny_generator, patch, seeds=range(4))
    document = found.document()
    assert document["measured_by"] == "places"
    assert document["efficacy"] == pytest.approx(found.places[0].arrives.value, abs=1e-5)
    assert document["places"][0]["residual"] == pytest.approx(patch.forecast["residual"], abs=1e-3)
    assert document["outside"] == pytest.approx(found.places[0].outside.moved.mean(), abs=1e-4)
    assert any(note.startswith("LPIPS was not measured") for note in document["notes"])


def test_a_patch_without_a_rule_has_no_efficacy(tiny_generator, patch):
    document = report_on(tiny_generator, replace(patch, rules=()), seeds=range(4)).document()
    assert document["measured_by"] == "colours"
    assert document["efficacy"] is None
    assert document["outside"] == pytest.approx(document["colours"]["moved"])


def test_patches_are_reported_together_with_their_strengths(tiny_generator, patch):
    changes = [
        report_on(tiny_generator, [patch, patch], strengths=strengths, seeds=range(3)).effect.map
        for strengths in ([0.0, 0.0], [0.5, 0.5], [1.0, 0.0])
    ]
    assert changes[0].max() == 0
    np.testing.assert_allclose(changes[1], changes[2], atol=1e-5)
    with pytest.raises(ValueError, match="2 patches and 1 strengths"):
        report_on(tiny_generator, [patch, patch], strengths=[1.0], seeds=range(3))


def test_rules_of_different_truncations_are_not_reported_together(tiny_generator, patch, rule):
    other = replace(patch, rules=(replace(rule, truncation=0.7).to_json(),))
    with pytest.raises(ValueError, match=r"rules of one truncation, got 0\.7, 1: report on the patches one by one"):
        report_on(tiny_generator, [patch, other], seeds=range(3))
    notes = report_on(tiny_generator, other, seeds=range(3)).notes
    assert any("written at another truncation" in note for note in notes)


def test_the_generator_is_as_it_was_after_a_report(tiny_generator, patch):
    first = tiny_generator.fingerprint
    report_on(tiny_generator, patch, seeds=range(3))
    assert tiny_generator.fingerprint == first


@pytest.mark.parametrize("seeds", [[], None])
def test_seeds_are_unseen_ones_and_at_least_one(tiny_generator, patch, rule, seeds):
    if seeds is None:
        assert unseen_seeds([rule], 4) == (0, 4, 5, 6)
        return
    with pytest.raises(ValueError, match="at least one seed"):
        report_on(tiny_generator, patch, seeds=seeds)


def test_an_expectation_that_could_not_be_measured_is_not_met():
    assert not Expectation("rule", "outside", 1.0, None).met
    assert not Expectation("rule", "efficacy", 0.0, float("nan")).met
    assert Expectation("rule", "efficacy", 0.5, 0.5).met
    assert not Expectation("rule", "outside", 0.1, 0.2).met
    assert "expects outside of at most 0.1: it is 0.200" in str(Expectation("rule", "outside", 0.1, 0.2))


def test_lpips_is_measured_whole_and_outside_the_wanted_change(tiny_generator, patch):
    torch.manual_seed(0)
    perceptual = Perceptual("squeeze", torchvision.models.squeezenet1_1(weights=None).state_dict())
    notes = report_on(tiny_generator, patch, seeds=[0], perceptual=perceptual).notes
    assert any("at least 32 pixels" in note for note in notes)
    large = Large(tiny_generator.network)
    effect = measure_effect(
        large,
        lambda: patch.applied(large),
        range(2),
        source=BRIGHTNESS,
        aims=[Aim("erase", (SKY,), None)],
        perceptual=perceptual,
    )
    assert (effect.look > 0).all()
    assert (effect.look_outside > 0).all()
    assert (effect.look_outside != effect.look).all()


class Large(StyleGAN2Generator):
    """The tiny generator with its images enlarged, for trunks that need 32 pixels."""

    def images(self, latents):
        return torch.nn.functional.interpolate(super().images(latents), scale_factor=2)


def test_the_page_needs_nothing_from_outside_and_escapes_what_it_is_given(tiny_generator, patch, tmp_path):
    report_on(tiny_generator, patch, seeds=range(5), source=BRIGHTNESS).save(tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert_shown_as_text(text)
    assert "<script" not in text
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", text)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', text))
    assert text.count("<img") == 2 * (5 + 4) + 1
    assert "2 of 2 expectations failed" in text


def test_a_page_can_be_written_of_every_kind_of_report(tiny_generator, patch):
    for each in (patch, replace(patch, rules=(), forecast={})):
        found = report_on(tiny_generator, each, seeds=range(2))
        text = page(found.document(), found.shown, (), found.shown[0].before)
        assert "not measured" in text or found.verdict.efficacy
        assert text.endswith("</html>\n")


def test_numbers_that_cannot_be_measured_are_null(tiny_generator, patch):
    only_sky = CallableSource(lambda images, _: torch.zeros(len(images), 16, 16, dtype=torch.int16), CONCEPTS)
    document = report_on(tiny_generator, patch, seeds=[0], source=only_sky).document()
    assert document["efficacy"] is None
    assert document["clear"]["share"] is None
    assert json.dumps(document, allow_nan=False)
