"""w and W+ wherever a seed may stand: in images, rules, goals, reports."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dissect.concept_rule import RuleInWords, concept_rule
from rewrite import Latent, Rule, Search, Settings, measure, read_latents, report_on, solve
from rewrite.generators.latents import Latents
from rewrite.goals.pasted import pasted_images
from rewrite.goals.preview import preview
from tests.networks import marked_rule, random_stylegan3
from tests.test_regions import BRIGHT


def w_of(generator, seeds, *, plus=False) -> Latents:
    """The latents of seeds, as w."""
    latents = generator.latents(seeds)
    styles = generator.styles(latents)
    return latents._replace(w=styles.clone() if plus else styles[:, :1].clone())


def by_value(rule: Rule, latents: Latents) -> Rule:
    """The rule with these latents for the images of their seeds."""
    values = dict(zip(latents.seeds, Latent.each(latents), strict=True))

    def given(regions):
        return tuple(replace(each, latent=values.get(each.latent.seed, each.latent)) for each in regions)

    return replace(rule, copy=given(rule.copy), context=given(rule.context))


@pytest.mark.parametrize("make", ["tiny_generator", random_stylegan3])
@pytest.mark.parametrize("plus", [False, True])
def test_the_w_of_seeds_draw_the_images_of_the_seeds(request, make, plus):
    generator = request.getfixturevalue(make) if isinstance(make, str) else make()
    latents = w_of(generator, [3, 8, 5], plus=plus)
    assert torch.equal(generator.sample(latents), generator.sample([3, 8, 5]))
    assert torch.equal(generator.sample(latents, batch=2), generator.sample([3, 8, 5]))
    assert latents.chosen([2]).kind == ("w+" if plus else "w")


@pytest.mark.parametrize("settings", [Settings(), Settings(refine=4), Settings.from_marks()], ids=str)
def test_a_rule_on_the_w_of_seeds_gives_the_patch_of_the_seeds(files, tiny_generator, settings):
    by_seed = marked_rule(files["model"], settings=settings)
    rule = by_value(by_seed, w_of(tiny_generator, (1, 2), plus=True))
    memory = measure(tiny_generator, rule.layer, 30)
    expected, found = (solve(tiny_generator, memory, each) for each in (by_seed, rule))
    torch.testing.assert_close(found.left @ found.right, expected.left @ expected.right, rtol=1e-3, atol=1e-5)


def test_a_rule_on_w_plus_of_a_photograph_replays_from_its_file(files, tiny_generator, tmp_path):
    torch.manual_seed(3)
    count, width = tiny_generator.styles_shape
    latents = Latents(torch.zeros(2, 8), (1, 2), torch.randn(2, count, width))
    rule = by_value(marked_rule(files["model"], settings=Settings.from_marks()), latents)
    rule.save(tmp_path / "rule.json")
    again = Rule.load(tmp_path / "rule.json")
    assert again == rule
    memory = measure(tiny_generator, rule.layer, 30)
    first, second = (solve(tiny_generator, memory, each) for each in (rule, again))
    assert torch.equal(first.left, second.left)
    assert torch.equal(first.right, second.right)
    # What it is to look like is the photograph, everywhere but under the marks.
    drawn = tiny_generator.sample(latents)
    for number, each in enumerate(pasted_images(tiny_generator, rule)):
        torch.testing.assert_close(each.shown().before, drawn[number], rtol=0, atol=1e-5)
    assert [latent.seed for latent in preview(tiny_generator, rule)] == [1, 2]


def test_w_of_some_images_and_seeds_of_others_stand_in_one_rule(files, tiny_generator):
    by_seed = marked_rule(files["model"])
    rule = by_value(by_seed, w_of(tiny_generator, [1]))
    assert {region.latent.w is None for region in rule.context} == {True, False}
    memory = measure(tiny_generator, rule.layer, 30)
    expected, found = (solve(tiny_generator, memory, each) for each in (by_seed, rule))
    torch.testing.assert_close(found.left @ found.right, expected.left @ expected.right, rtol=1e-3, atol=1e-5)


def test_a_rule_file_of_seeds_says_nothing_of_w(files):
    assert '"w"' not in marked_rule(files["model"]).to_json()


@pytest.mark.parametrize(
    ("w", "said"),
    [
        (((1.0,) * 8, (1.0,) * 7), "w are of one length"),
        (((1e9,) * 8,), "the numbers of a latent lie between"),
        (((1.0,) * 7,), r"of shape \(1, 8\) or \(6, 8\), got \(1, 7\)"),
        (((1.0,) * 8,) * 5, r"of shape \(1, 8\) or \(6, 8\), got \(5, 8\)"),
    ],
)
def test_w_that_fit_no_image_are_refused(files, tiny_generator, w, said):
    rule, memory = marked_rule(files["model"]), measure(tiny_generator, "b16.conv1", 30)

    def solved():
        copy = replace(rule.copy[0], latent=Latent(1, w=w))
        return solve(tiny_generator, memory, replace(rule, copy=(copy,)))

    with pytest.raises(ValueError, match=said):
        solved()


def test_a_report_on_the_w_of_seeds_is_that_of_the_seeds(files, tiny_generator):
    rule = marked_rule(files["model"])
    patch = solve(tiny_generator, measure(tiny_generator, rule.layer, 30), rule)
    by_seed = report_on(tiny_generator, patch, seeds=[5, 6, 7])
    found = report_on(tiny_generator, patch, seeds=w_of(tiny_generator, [5, 6, 7], plus=True))
    assert np.allclose(found.effect.movement.difference, by_seed.effect.movement.difference, atol=1e-6)
    document = found.document()
    assert document["drawn_from"] == "w+"
    assert [image["latent"] for image in document["per_image"]] == [0, 1, 2]
    assert [pair.caption for pair in found.shown] == ["latent 0", "latent 1", "latent 2"]
    assert by_seed.document()["drawn_from"] == "seed"


def test_a_search_fires_in_w_as_in_their_seeds(files, tiny_generator):
    rule = marked_rule(files["model"])
    search = Search.of(tiny_generator, measure(tiny_generator, rule.layer, 30), rule, samples=10)
    torch.testing.assert_close(search.firing(w_of(tiny_generator, [5, 6])), search.firing([5, 6]))


def test_a_rule_from_the_names_of_concepts_holds_the_w_of_its_images(tiny_generator):
    words = RuleInWords(context=["tree"])
    by_seed = concept_rule(tiny_generator, BRIGHT, words, [5, 6])
    found = concept_rule(tiny_generator, BRIGHT, words, w_of(tiny_generator, [5, 6]))
    assert [region.mask for region in found.context] == [region.mask for region in by_seed.context]
    assert all(region.latent.w is not None for region in found.context)


def test_the_commands_rule_and_report_take_the_file_of_a_projector(files, tmp_path, answer, refusal, tiny_generator):
    path = tmp_path / "projected_w.npz"
    np.savez(path, w=w_of(tiny_generator, [5, 6], plus=True).w.numpy())
    assert read_latents(path, tiny_generator).kind == "w+"
    out = tmp_path / "report"
    given = ["report", files["patch"], "--model", files["model"], "--latents", path, "--out", out]
    assert answer(*given)["drawn_from"] == "w+"
    assert "--seeds names images, and --latents names others" in refusal(*given, "--seeds", "1-2")
