"""Further contexts are proposed: places that look like the marked ones, image by image."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from dissect.scenes import CONCEPTS, TOPS
from dissect.segmenter import load_segmenter
from rewrite import Latent, Mask, Proposal, Region, Rule, load_generator, measure, propose_contexts, solve
from rewrite.reports.proposals import CLEAR
from rewrite.rules import BUILT_IN
from rewrite.rules.masks import regions_of

SEEDS = range(10_000, 10_048)


@pytest.fixture(scope="module")
def towers():
    return load_generator("towers")


@pytest.fixture(scope="module")
def marked() -> Rule:
    """Every top of four images is marked, two of them in one of the images."""
    rule = replace(Rule.load(BUILT_IN["tree-on-towers"]), layer="b32.conv0", fit="none")
    places = {}
    for place in rule.context:
        places.setdefault(place.latent, []).append(place)
    pairs = [latent for latent, each in places.items() if len(each) == 2]
    single = [latent for latent, each in places.items() if len(each) == 1]
    chosen = [place for latent in (pairs[0], *single[:3]) for place in places[latent]]
    return replace(rule, copy=rule.copy[:1], paste=None, context=tuple(chosen))


@pytest.fixture(scope="module")
def proposals(towers, marked) -> list[Proposal]:
    return propose_contexts(towers, marked, seeds=SEEDS, most=8)


def tops(generator, latent: Latent) -> np.ndarray:
    labels = load_segmenter().label(generator.sample([latent.seed]))
    return np.isin(labels[0], [CONCEPTS.index(name) for name in TOPS])


def test_what_is_proposed_is_of_the_kind_that_was_marked(towers, proposals):
    assert len(proposals) == 8
    for proposal in proposals:
        near = binary_dilation(tops(towers, proposal.latent), iterations=2)
        for region in proposal.regions:
            mask = region.mask.array()
            assert (near & mask).sum() > 0.8 * mask.sum()


def test_the_places_of_an_image_are_proposed_together_and_few_are_overlooked(towers, proposals):
    assert len({proposal.latent for proposal in proposals}) == len(proposals)
    found = missed = 0
    for proposal in proposals:
        together = np.any([region.mask.array() for region in proposal.regions], axis=0)
        reached = [(together & top).any() for top in regions_of(tops(towers, proposal.latent)) if top.sum() >= 20]
        found, missed = found + sum(reached), missed + len(reached) - sum(reached)
    assert any(len(proposal.regions) > 1 for proposal in proposals)
    assert found > 2 * missed


def test_clear_images_come_first_in_the_order_of_their_seeds_and_none_that_the_rule_uses(marked, proposals):
    clear = [proposal.latent.seed for proposal in proposals if proposal.margin >= CLEAR]
    assert clear == [proposal.latent.seed for proposal in proposals[: len(clear)]] == sorted(clear)
    assert len(clear) > 4
    assert min(proposal.likeness for proposal in proposals) > 0.7
    assert not {proposal.latent for proposal in proposals} & {place.latent for place in marked.places}


def test_what_looks_alike_beside_the_marks_is_offered_first(towers, marked):
    forgotten, *kept = marked.context
    first = propose_contexts(towers, replace(marked, context=tuple(kept)), seeds=SEEDS[:16])[0]
    assert first.marked
    assert first.latent == forgotten.latent
    (region,) = first.regions
    found, true = region.mask.array(), forgotten.mask.array()
    assert (found & true).sum() > 0.4 * (found | true).sum()
    assert not any((found & place.mask.array()).any() for place in kept if place.latent == forgotten.latent)


def test_accepted_regions_are_contexts_of_a_rule_that_can_be_solved(towers, marked, proposals):
    accepted = [region for proposal in proposals[:2] for region in proposal.regions]
    rule = marked.with_contexts(accepted)
    assert rule.context == (*marked.context, *accepted)
    assert rule.with_contexts(accepted) == rule
    assert Rule.from_json(rule.to_json()) == rule
    assert solve(towers, measure(towers, rule.layer, 60), rule.with_settings(refine=0, finish=0, damage=0.03)).rank >= 1


def test_the_same_search_gives_the_same_proposals(towers, marked, proposals):
    assert propose_contexts(towers, marked, seeds=reversed(SEEDS), most=8) == proposals


def spots(generator, seeds=(1, 2), side: int = 16) -> Rule:
    mask = np.zeros((side, side), dtype=bool)
    mask[side // 4 : side // 2, side // 4 : side // 2] = True
    regions = tuple(Region(Latent(seed), Mask.from_array(mask)) for seed in seeds)
    return Rule("spots", generator.fingerprint, "b16.conv1", copy=regions[:1], context=regions)


@pytest.mark.parametrize("side", [8, 16, 32])
@pytest.mark.parametrize("layer", ["b8.conv1", "b16.conv0", "b16.torgb"])
def test_regions_are_masks_of_the_size_of_the_marks(tiny_generator, layer, side):
    found = propose_contexts(tiny_generator, spots(tiny_generator, side=side), seeds=range(10, 40), layer=layer)
    assert found
    assert {region.mask.size for proposal in found for region in proposal.regions} == {(side, side)}


def test_one_marked_image_is_enough(tiny_generator):
    assert propose_contexts(tiny_generator, spots(tiny_generator, (1,)), seeds=range(10, 40))


def test_layers_of_any_network_can_be_searched(plain_generator):
    rule = replace(spots(plain_generator, side=12), layer="conv")
    assert propose_contexts(plain_generator, rule, seeds=range(10, 30), layer="up")


def test_the_images_can_be_latents_by_value(tiny_generator):
    rule = spots(tiny_generator)
    z = tuple(tiny_generator.latents([1]).z[0].tolist())
    by_value = replace(rule, context=(Region(Latent(1, z), rule.context[0].mask), rule.context[1]))
    expected = [each for each in propose_contexts(tiny_generator, rule, seeds=range(10, 30)) if not each.marked]
    found = propose_contexts(tiny_generator, by_value, seeds=range(10, 30))
    assert [each for each in found if not each.marked] == expected


def test_a_search_says_how_far_it_is_and_ends_when_told_to(tiny_generator):
    looked_at = []

    def stop(images: int) -> None:
        looked_at.append(images)
        if images > 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        propose_contexts(tiny_generator, spots(tiny_generator), seeds=range(10, 200), on_progress=stop)
    assert looked_at == [16, 32]


def test_what_cannot_be_searched_is_refused(tiny_generator, plain_generator):
    rule = spots(tiny_generator)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        propose_contexts(tiny_generator, rule, most=0)
    with pytest.raises(ValueError, match="written on model"):
        propose_contexts(plain_generator, rule)
    with pytest.raises(LookupError, match="no layer 'b9'"):
        propose_contexts(tiny_generator, rule, layer="b9")
    with pytest.raises(ValueError, match="a mask of 11 x 11"):
        propose_contexts(tiny_generator, replace(rule, context=(Region(Latent(1), Mask((11, 11), ((5, 9),))),)))
