"""Rules from the names of concepts."""

import numpy as np
import pytest

from dissect.concept_rule import RuleInWords, concept_rule, usual_layer
from dissect.sources.towers import SegmenterSource
from rewrite import Rule, load_generator, measure, solve
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.reports.aims import Aim, count_concepts


@pytest.fixture(scope="module")
def towers():
    return load_generator("towers")


@pytest.fixture(scope="module")
def source():
    return SegmenterSource()


@pytest.fixture(scope="module")
def rule(towers, source):
    return concept_rule(towers, source, RuleInWords(["dome", "spire"], ["tree"], ["cloud"], name="trees"), range(20))


def test_everything_that_shows_the_context_is_marked_and_nothing_else(towers, source, rule):
    wanted = [source.concepts.number(name) for name in ("dome", "spire")]
    for seed in sorted({region.latent.seed for region in rule.context}):
        labels = source.label(towers.sample([seed]), [seed])[0, 0].numpy()
        marked = np.sum([r.mask.array() for r in rule.context if r.latent.seed == seed], axis=0)
        assert np.array_equal(marked, np.isin(labels, wanted))


def test_copies_show_what_is_to_be_copied_in_about_the_size_of_the_places(towers, source, rule):
    tree = source.concepts.number("tree")
    typical = np.median([region.mask.array().sum() for region in rule.context])
    for region in rule.copy:
        labels = source.label(towers.sample([region.latent.seed]), [region.latent.seed])[0, 0].numpy()
        assert (labels[region.mask.array()] == tree).all()
        assert typical / 1.6 < region.mask.array().sum() < 1.6 * typical


def test_the_rule_says_what_it_does_and_replays(rule, tmp_path):
    assert rule.effect == {"from": ["dome", "spire"], "to": "tree"}
    assert rule.protect
    rule.save(tmp_path / "rule.json")
    assert Rule.load(tmp_path / "rule.json") == rule


def test_without_a_copy_the_rule_erases(towers, source):
    rule = concept_rule(towers, source, RuleInWords(["window"], layer="b32.conv0"), range(6))
    assert rule.action == "erase"
    assert rule.copy == ()
    assert rule.effect == {"from": ["window"], "to": None}


def test_a_rule_of_names_alone_does_what_it_says(towers, source):
    rule = concept_rule(towers, source, RuleInWords(["dome", "spire"], ["tree"], ["cloud"]), range(6))
    rule = rule.with_settings(refine=2, finish=1)
    patch = solve(towers, measure(towers, rule.layer, 100), rule)
    seeds = range(700_000, 700_024)
    before = source.label(towers.sample(seeds), seeds).numpy()
    with patch.applied(towers):
        after = source.label(towers.sample(seeds), seeds).numpy()
    aim = Aim.of("trees", rule.effect, source.concepts)
    counts = count_concepts(before, after, len(source.concepts), [aim])
    assert counts.efficacy().value > 0.4
    assert counts.outside_change().value < 0.12


def test_the_usual_layer_writes_at_half_the_side(towers):
    assert usual_layer(towers) == "b32.conv0"


def test_the_usual_layer_of_large_images_writes_64_cells_a_side():
    sides = (4, 8, 16, 32, 64, 128, 256)
    network = StyleGAN2(Design(z_dim=8, w_dim=8, mapping_layers=1, channels=dict.fromkeys(sides, 5)))
    assert usual_layer(StyleGAN2Generator(network)) == "b64.conv0"


@pytest.mark.parametrize(
    ("context", "copy", "error", "text"),
    [
        (["domes"], ["tree"], LookupError, "did you mean dome"),
        (["dome"], ["treee"], LookupError, "did you mean tree"),
    ],
)
def test_unknown_concepts_are_refused(towers, source, context, copy, error, text):
    with pytest.raises(error, match=text):
        concept_rule(towers, source, RuleInWords(context, copy), range(4))


def test_concepts_that_no_image_shows_are_refused(towers, source):
    with pytest.raises(ValueError, match="shows"):
        concept_rule(towers, source, RuleInWords(["mountain"], ["door"]), [])
