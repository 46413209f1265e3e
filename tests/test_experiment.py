"""The effects of units on concepts: against naive ablation, against planted causes, and as sums that merge."""

import numpy as np
import pytest
import torch
from scipy import stats

from dissect.causes.blocks import Cell, block_at, cells_of
from dissect.causes.experiment import Contrast, Experiment, areas_of, measure_contrasts, measure_removals
from dissect.causes.intervention import Intervention
from dissect.causes.paired import Paired
from dissect.sources.contract import CallableSource
from rewrite import Interval
from rewrite.reports.concepts import Concepts
from rewrite.storage.ledger import Ledger
from tests.planted_causes import BOTH, CAUSAL_UNITS, CAUSES, CORRELATE, EITHER, TREE, ColourSource, PlantedGenerator

SHADES = CallableSource(
    lambda images, numbers: (images.mean(dim=1) * 3).round().clamp(-1, 2).short(), Concepts.of("abc")
)


@pytest.fixture
def planted() -> Experiment:
    return Experiment(PlantedGenerator(), "units", ColourSource())


def test_effects_are_those_of_switching_units_off_in_whole_generations(tiny_generator):
    """The reference zeroes a unit by a hook while the whole generator runs."""
    experiment, seeds = Experiment(tiny_generator, "b8.conv1", SHADES), tuple(range(8))
    found = measure_removals(experiment, seeds)
    stage = tiny_generator.network.synthesis.get_submodule("b8.conv1")
    as_is = areas_of(SHADES.label(tiny_generator.sample(seeds), seeds), 3)
    assert (as_is > 0).all(dim=0).any()
    for unit in range(experiment.units):
        handle = stage.register_forward_hook(
            lambda module, inputs, output, unit=unit: output.index_fill(1, torch.tensor([unit]), 0)
        )
        without = areas_of(SHADES.label(tiny_generator.sample(seeds), seeds), 3)
        handle.remove()
        assert torch.equal(found.sums[1, unit], (as_is - without).sum(dim=0))
        assert torch.equal(found.sums[2, unit], (as_is - without).square().sum(dim=0))
    assert found.sums[1].abs().sum() > 0


def test_batches_order_and_parts_change_nothing(tiny_generator):
    experiment = Experiment(tiny_generator, "b8.conv1", SHADES)
    contrasts = [Contrast.removal([0, 1]), Contrast.insertion([2], [3.0], 2)]
    whole = measure_contrasts(experiment, contrasts, range(11)).sums
    turned = measure_contrasts(experiment, contrasts, range(10, -1, -1), batch=3).sums
    parts = (
        measure_contrasts(experiment, contrasts, range(4), batch=1),
        measure_contrasts(experiment, contrasts, range(4, 11), batch=5),
    )
    assert torch.equal(whole, turned)
    assert torch.equal(whole, (parts[0] + parts[1]).sums)
    assert (parts[0] + parts[1]).images == 11


def test_ranking_by_effect_finds_planted_causes_and_not_the_correlate(planted):
    gone = measure_removals(planted, range(40)).ratio.value
    tree, door, window = (gone[:, CAUSES.number(name)] for name in ("tree", "door", "window"))
    assert tree[TREE] == 1
    assert np.delete(tree, TREE).max() == 0
    assert set(np.flatnonzero(door == 1)) == set(BOTH)
    assert gone[CORRELATE].tolist() == [0, 0, 0, 0]
    assert abs(window[list(EITHER)]).max() == 0


def test_units_that_act_for_each_other_have_an_effect_only_as_a_set(planted):
    found = measure_contrasts(planted, [Contrast.removal(EITHER), Contrast.removal(EITHER[:1])], range(40))
    window = CAUSES.number("window")
    assert found.ratio[0, window] == Interval(1.0, 1.0, 1.0)
    assert found.ratio[1, window] == Interval(0.0, 0.0, 0.0)


def test_inserting_is_compared_with_ablating_inside_the_same_block(planted):
    """Doors over all of a block make every pixel of it a door, but for those where a tree or a window stands."""
    seeds, side = range(60), 2
    found = measure_contrasts(planted, [Contrast.insertion(BOTH, (1.0, 1.0), side)], seeds)
    door, ground = CAUSES.number("door"), CAUSES.number("ground")
    labels = planted.labels(planted.prefix(seeds), seeds)[:, 0]
    cells = [cells_of(seed, (16, 16), 1)[0] for seed in seeds]
    blocks = block_at(cells, (16, 16), side).repeat_interleave(2, 1).repeat_interleave(2, 2)
    free = blocks & ((labels == ground) | (labels == door))
    assert found.sums[1, 0, door] == free.sum()
    assert found.ratio[0, door].value == pytest.approx(float(free.sum() / (labels == door).sum()))


def test_intervals_are_students_and_cover_what_they_should():
    random = np.random.default_rng(5)
    base = torch.from_numpy(random.integers(50, 150, (400, 30)))
    difference = torch.from_numpy(random.binomial(base.numpy(), 0.3))
    mean = difference[:, 0].double().mean().item()
    wanted = stats.t.interval(0.95, 399, mean, stats.sem(difference[:, 0].numpy()))
    found = Paired.of(difference, torch.ones_like(base)).ratio[0]
    assert [found.value, found.low, found.high] == pytest.approx([mean, *wanted])
    ratio = Paired.of(difference, base).ratio
    assert 24 <= ((ratio.low <= 0.3) & (ratio.high >= 0.3)).sum() <= 30
    assert np.isnan(Paired.of(difference[:1], base[:1]).ratio.low).all()


def test_blocks_lie_inside_the_grid_and_hang_on_the_seed():
    masks = block_at([Cell(0, 0), Cell(3, 5), Cell(2, 2)], (4, 6), 3)
    assert masks.sum(dim=(1, 2)).tolist() == [9, 9, 9]
    assert masks[0, :3, :3].all()
    assert masks[1, 1:, 3:].all()
    assert cells_of(7, (4, 6), 5) == cells_of(7, (4, 6), 24)[:5]
    assert sorted(cells_of(7, (4, 6), 24)) == cells_of(0, (4, 6))


def test_a_mask_of_each_image_moves_each_image_there():
    output = torch.randn(2, 3, 2, 2)
    masks = torch.tensor([[[1.0, 0], [0, 0]], [[0, 0], [0, 0.5]]])
    moved = Intervention((1,), (4.0,), mask=masks).on(output)
    for image in range(2):
        alone = Intervention((1,), (4.0,), mask=masks[image]).on(output[image : image + 1])
        assert torch.equal(moved[image : image + 1], alone)


def test_a_run_goes_on_where_it_was_stopped(planted, tmp_path):
    path, contrasts = tmp_path / "effects.safetensors", [Contrast.removal([TREE])]
    wanted = measure_contrasts(planted, contrasts, range(20)).sums
    ledger = Ledger(path, {"run": 1})
    measure_contrasts(planted, contrasts, range(8), ledger=ledger, batch=4)
    again = measure_contrasts(planted, contrasts, range(20), ledger=Ledger(path, {"run": 1}))
    assert torch.equal(again.sums, wanted)
    with pytest.raises(ValueError, match="another run"):
        Ledger(path, {"run": 2})


@pytest.mark.parametrize(
    ("contrasts", "sentence"),
    [
        ([], "at least one image"),
        ([Contrast.removal([CAUSAL_UNITS])], "units 0 to 11"),
        ([Contrast.insertion([0], [1.0], 17)], "between 1 and 16"),
    ],
)
def test_what_cannot_be_compared_is_refused(planted, contrasts, sentence):
    with pytest.raises(ValueError, match=sentence):
        measure_contrasts(planted, contrasts, range(2))


def test_an_unknown_layer_is_refused():
    with pytest.raises(LookupError, match="no layer 'unit'"):
        Experiment(PlantedGenerator(), "unit", ColourSource())
