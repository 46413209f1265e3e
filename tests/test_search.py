"""Search shows where a rule would fire before anything is edited."""

import numpy as np
import pytest
import torch

from rewrite import Latent, Mask, Region, Rule, Search, firing, measure, strongest
from rewrite.generators.contract import Generator
from rewrite.reports.firing import FIRST_SEED, ordinary_moment, responses, upsampled
from rewrite.solvers.directions import patch_rows, phase_metrics

LAYERS = ("b8.conv0", "b8.conv1", "b16.conv0", "b16.torgb")


def marked(generator: Generator, layer: str, seeds=(1, 2, 3)) -> Rule:
    side = generator.size[0]
    mask = np.zeros((side, side), dtype=bool)
    mask[side // 4 : side // 2, side // 2 : 3 * side // 4] = True
    regions = tuple(Region(Latent(seed), Mask.from_array(mask)) for seed in seeds)
    return Rule("marked", generator.fingerprint, layer, copy=regions[:1], context=regions)


@pytest.mark.parametrize("key_space", ["patch", "channel"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_heat_map_has_the_size_of_the_image_and_quantiles_as_values(tiny_generator, layer, key_space):
    rule, memory = marked(tiny_generator, layer), measure(tiny_generator, layer, 40, key_space=key_space)
    heat = firing(tiny_generator, memory, rule, [5, 6, 7], samples=10)
    assert heat.shape == (3, 16, 16)
    assert heat.min() >= 0
    assert heat.max() <= 1


@pytest.mark.parametrize("key_space", ["patch", "channel"])
@pytest.mark.parametrize("layer", ["b8.conv0", "b8.conv1", "b16.conv1"])
def test_a_rule_marked_at_one_spot_fires_there(tiny_generator, layer, key_space):
    mask = np.zeros((16, 16), dtype=bool)
    mask[7, 11] = True
    region = Region(Latent(1), Mask.from_array(mask))
    rule = Rule("spot", tiny_generator.fingerprint, layer, copy=(region,), context=(region,))
    memory = measure(tiny_generator, layer, 40, key_space=key_space)
    heat = firing(tiny_generator, memory, rule, [1], samples=30)[0]
    assert heat[torch.from_numpy(mask)].mean() > heat[torch.from_numpy(~mask)].mean() + 0.1


@pytest.mark.parametrize("layer", ["conv", "grouped", "up"])
def test_plain_layers_can_be_searched(plain_generator, layer):
    rule, memory = marked(plain_generator, layer), measure(plain_generator, layer, 30)
    assert firing(plain_generator, memory, rule, [4], samples=5).shape == (1, 12, 12)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_response_is_the_product_of_key_and_direction_at_every_position(tiny_generator, layer):
    described, seeds = tiny_generator.layer(layer), [3, 4]
    rows = torch.randn(1, described.width, dtype=torch.float64)
    keys = described.keys(tiny_generator.cut(layer, tiny_generator.latents(seeds)).features).double()
    found = responses(tiny_generator, described, rows, tiny_generator.latents(seeds))
    assert found.shape[1:] == described.output_grid
    torch.testing.assert_close(found.flatten(1).double(), keys @ rows[0], rtol=1e-4, atol=1e-4)


def test_ordinary_keys_have_a_mean_square_response_of_one(tiny_generator):
    layer = tiny_generator.layer("b8.conv1")
    memory = measure(tiny_generator, "b8.conv1", 40)
    context = torch.randn(20, layer.width, dtype=torch.float64)
    moment = ordinary_moment(memory, layer)
    rows = patch_rows(context, phase_metrics(moment, layer), layer, 2)
    power = ((rows @ moment) * rows).sum(dim=1)
    torch.testing.assert_close(power, torch.ones(2, dtype=torch.float64))


def test_each_phase_of_an_upsampling_layer_has_its_own_direction(tiny_generator):
    layer = tiny_generator.layer("b8.conv0")
    parts = layer.phases()
    assert sorted(torch.cat(parts).tolist()) == list(range(layer.width))
    assert sorted(len(part) // layer.inputs for part in parts) == [1, 2, 2, 4]
    assert len(tiny_generator.layer("b8.conv1").phases()) == 1
    keys = layer.keys(tiny_generator.cut("b8.conv0", tiny_generator.latents([0])).features)[0]
    for key in keys:
        assert sum(bool(key[part].any()) for part in parts) <= 1


@pytest.mark.parametrize("layer", LAYERS)
def test_a_cell_is_shown_where_it_acts(tiny_generator, layer):
    described = tiny_generator.layer(layer)
    height, width = described.output_grid
    ramp = torch.arange(width).float().expand(1, height, width)
    shown = upsampled(ramp, described, (64, 64))[0]
    cells = width - 2 * described.overhang
    expected = (torch.arange(64) + 0.5) / 64 * cells - 0.5 + described.overhang
    torch.testing.assert_close(shown[10], expected.clamp(0, width - 1), rtol=0, atol=1e-4)


def test_the_strongest_images_come_first_and_say_where(tiny_generator):
    rule, memory = marked(tiny_generator, "b16.conv1"), measure(tiny_generator, "b16.conv1", 40)
    search = Search.of(tiny_generator, memory, rule, samples=10)
    matches, maps = search.strongest(range(9), 4), search.firing(range(9))
    assert len(matches) == 4
    assert [match.response for match in matches] == sorted((match.response for match in matches), reverse=True)
    assert matches == strongest(tiny_generator, memory, rule, range(9), 4, samples=10)
    for match in matches:
        row, column = (int(share * 16) for share in match.place)
        assert maps[match.seed, row, column] == pytest.approx(match.quantile, abs=1e-6)


def test_what_is_looked_at_is_never_among_the_ordinary_images(tiny_generator):
    rule, memory = marked(tiny_generator, "b8.conv1"), measure(tiny_generator, "b8.conv1", 20)
    search = Search.of(tiny_generator, memory, rule, samples=4, avoid=[FIRST_SEED, FIRST_SEED + 2])
    assert search.ordinary == {FIRST_SEED + n for n in (1, 3, 4, 5)}
    search.firing([FIRST_SEED])
    with pytest.raises(ValueError, match=f"seed {FIRST_SEED + 1} is one of the ordinary images"):
        search.firing([FIRST_SEED + 1])


def test_a_memory_of_another_layer_is_refused(tiny_generator):
    memory = measure(tiny_generator, "b8.conv1", 5)
    with pytest.raises(ValueError, match=r"measured on layer b8\.conv1, not on layer b16\.conv1"):
        Search.of(tiny_generator, memory, marked(tiny_generator, "b16.conv1"))


@pytest.mark.parametrize("rank", [0, 10_000])
def test_a_rank_that_the_context_does_not_have_is_refused(tiny_generator, rank):
    memory = measure(tiny_generator, "b8.conv1", 5)
    with pytest.raises(ValueError, match="rank must lie between 1 and"):
        Search.of(tiny_generator, memory, marked(tiny_generator, "b8.conv1"), rank=rank, samples=2)


def test_several_directions_respond_with_the_length_of_the_keys_part_along_them(tiny_generator):
    layer = tiny_generator.layer("b8.conv1")
    rows = torch.randn(3, layer.width, dtype=torch.float64)
    each = [responses(tiny_generator, layer, row[None], tiny_generator.latents([7])) for row in rows]
    together = responses(tiny_generator, layer, rows, tiny_generator.latents([7]))
    torch.testing.assert_close(together, torch.stack(each).square().sum(dim=0).sqrt())
