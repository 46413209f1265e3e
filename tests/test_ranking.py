"""Rankings of units by agreement, by effect and by search: what each finds of planted causes, and what fools it."""

import numpy as np
import pytest
import torch

from dissect.causes.acceptance import measure_acceptance
from dissect.causes.blocks import block_at
from dissect.causes.brush import best_units
from dissect.causes.experiment import Contrast, Experiment, measure_contrasts, measure_removals
from dissect.causes.insertion import insertion_values
from dissect.causes.intervention import Intervention, Prefix
from dissect.causes.ranking import by_effect, by_share, check_dissection, effective_size
from dissect.causes.soft_set import Descent, find_sites, soft_set
from dissect.units.counting import dissect
from dissect.units.probe import GeneratorProbe
from tests.planted_causes import BOTH, CAUSAL_UNITS, CAUSES, CORRELATE, EITHER, TREE, ColourSource, PlantedGenerator

SIDE = 2
TRAIN = tuple(range(64))
DOOR_ON = Intervention(BOTH, (1.0, 1.0))


@pytest.fixture(scope="module")
def planted() -> Experiment:
    return Experiment(PlantedGenerator(), "units", ColourSource())


@pytest.fixture(scope="module")
def values(planted):
    return insertion_values(planted, range(4), TRAIN).float()


@pytest.fixture(scope="module")
def shares(planted, values):
    """The soft set of each concept."""
    found = {}
    for name in ("tree", "door", "window"):
        number = CAUSES.number(name)
        sites = find_sites(planted, number, TRAIN, SIDE)
        found[name] = soft_set(planted, number, values[number], sites, SIDE, how=Descent(steps=40, pairs=4))
    return found


def test_agreement_is_fooled_by_a_correlate_and_effects_are_not(planted, shares):
    probe = GeneratorProbe(planted.generator, ["units"], planted.source)
    dissection = dissect(probe, 64, level_samples=64, tail=0.08)["units"]
    check_dissection(dissection, planted)
    tree = CAUSES.number("tree")
    assert best_units(dissection, "tree", 1)[0] == CORRELATE
    assert by_effect(measure_removals(planted, TRAIN), tree, range(CAUSAL_UNITS))[0] == TREE
    assert by_share(shares["tree"])[0] == TREE
    assert shares["tree"][CORRELATE] < 0.1


def test_the_search_finds_units_that_act_only_together_or_for_each_other(shares):
    assert set(by_share(shares["door"])[:2]) == set(BOTH)
    assert set(by_share(shares["window"])[:2]) == set(EITHER)
    for name, causes in (("door", BOTH), ("window", EITHER)):
        rest = np.delete(shares[name].numpy(), causes)
        assert shares[name][list(causes)].min() > 0.5 > rest.max(), name


def test_sites_show_the_concept_or_are_free_of_it(planted):
    door = CAUSES.number("door")
    sites = find_sites(planted, door, TRAIN, SIDE)
    assert {seed for seed, _ in sites.present} <= set(TRAIN[:32])
    assert {seed for seed, _ in sites.candidate} <= set(TRAIN[32:])
    for wanted, chosen in ((True, sites.present), (False, sites.candidate)):
        assert len(chosen) > 10
        for seed, cell in chosen:
            labels = planted.labels(planted.prefix((seed,)), (seed,))[0, 0]
            block = block_at([cell], (16, 16), SIDE)[0].repeat_interleave(2, 0).repeat_interleave(2, 1)
            assert bool((labels[block] == door).any()) is wanted


def test_insertion_values_are_means_over_the_pixels_of_a_concept(planted, values):
    """The reference lifts the maps to the pixels, which here lie two by two in one cell."""
    prefix = Prefix.of(planted.generator, "units", TRAIN)
    maps = prefix.output.repeat_interleave(2, 2).repeat_interleave(2, 3)
    labels = planted.labels(prefix, TRAIN)[:, 0]
    for number in range(4):
        wanted = maps.transpose(0, 1)[:, labels == number].double().mean(dim=1)
        assert torch.allclose(values[number].double(), wanted, atol=1e-5)


def test_a_concept_that_no_image_shows_has_no_value(planted):
    with pytest.raises(ValueError, match="shows tree"):
        insertion_values(
            planted, [CAUSES.number("tree")], [next(seed for seed in range(99) if not _has_tree(planted, seed))]
        )


def _has_tree(planted, seed):
    return bool((planted.labels(planted.prefix((seed,)), (seed,)) == CAUSES.number("tree")).any())


def test_the_size_of_a_set_is_where_its_effect_stops_to_grow(planted):
    order = (*EITHER, 7, 8)
    contrasts = [Contrast.removal(order[:size]) for size in (1, 2, 3, 4)]
    found = measure_contrasts(planted, contrasts, range(100, 140))
    curve = [found.ratio[i, CAUSES.number("window")].value for i in range(4)]
    assert curve == [0, 1, 1, 1]
    assert effective_size((1, 2, 3, 4), curve) == 2
    assert effective_size((1, 2), [0.0, -0.1]) is None


def test_insertions_that_are_refused_are_counted_by_what_stood_there(planted, values):
    door = CAUSES.number("door")
    seeds = range(200, 203)
    found = measure_acceptance(planted, door, DOOR_ON, seeds, side=1, batch=4)
    ground, tree = CAUSES.number("ground"), CAUSES.number("tree")
    assert found.count(ground) + found.count(tree) + found.count(door) + found.count(3) == 3 * 16 * 16
    assert found.gained(ground).value == 1
    assert found.gained(tree).value == 0
    assert found.normalised(door).value == pytest.approx(4 / found.area)
    labels = planted.labels(planted.prefix(tuple(seeds)), tuple(seeds))
    assert found.area == pytest.approx((labels == door).sum().item() / 3)
    assert found.count(tree) == (labels[:, 0, 1::2, 1::2] == tree).sum()


def test_a_random_share_of_the_positions_agrees_with_all_and_batches_change_nothing(planted):
    door, seeds = CAUSES.number("door"), range(300, 306)
    everywhere = measure_acceptance(planted, door, DOOR_ON, seeds, side=2)
    some = measure_acceptance(planted, door, DOOR_ON, seeds, side=2, positions=30)
    again = measure_acceptance(planted, door, DOOR_ON, seeds, side=2, positions=30, batch=3)
    assert torch.equal(some.effect.sums, again.effect.sums)
    sampled = some.normalised(0)
    assert sampled.low < everywhere.normalised(0).value < sampled.high


def test_an_insertion_that_is_refused_dies_in_a_later_layer(planted):
    found = measure_acceptance(planted, CAUSES.number("door"), DOOR_ON, range(400, 410), side=1, positions=40)
    assert list(found.change) == ["image"]
    image = found.survival()["image"]
    assert image[CAUSES.number("ground")] > 5 * image[CAUSES.number("tree")]
    *_, worked, refused = image
    assert worked > 2 * refused
    assert sum(found.outcomes) <= 400


def test_a_dissection_of_another_model_is_refused(planted):
    probe = GeneratorProbe(planted.generator, ["units"], planted.source)
    dissection = dissect(probe, 8, level_samples=8)["units"]
    other = PlantedGenerator()
    other.module["units"].weight *= 2
    with pytest.raises(ValueError, match="another model"):
        check_dissection(dissection, Experiment(other, "units", ColourSource()))
