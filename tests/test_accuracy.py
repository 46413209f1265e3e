"""How good a memory says it is, against memories of far more images; and the sums that it is made of."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer
from rewrite.memory import Memory, measure
from rewrite.memory.accuracy import Accuracy, Halves
from rewrite.memory.sums import BLOCK, Sums, Total, part_of, read_keys

LAYER = Layer("l", "l", "convolution", 40, 8, (4, 4))
MIXING = torch.randn(40, 40, generator=torch.Generator().manual_seed(5)) * torch.logspace(0, -1.5, 40)


def features(seeds: range, alike: float = 0.5) -> Tensor:
    """Maps whose places are alike within an image, so that its sixteen keys count as fewer."""
    draws = torch.Generator().manual_seed(seeds.start)
    common = torch.randn(len(seeds), 40, 1, 1, generator=draws).expand(-1, -1, 4, 4)
    own = torch.randn(len(seeds), 40, 4, 4, generator=draws)
    return torch.einsum("ij,njhw->nihw", MIXING, alike**0.5 * common + (1 - alike) ** 0.5 * own)


PROBES = range(10**6, 10**6 + Halves.PROBES)


def halves_of(images: int, first: int = 0, alike: float = 0.5, size: float = 1.0) -> Halves:
    halves = Halves(LAYER, "patch", torch.device("cpu"))
    halves.ask(Cut(None, size * features(PROBES, alike)), PROBES)
    halves.add(Cut(None, size * features(range(first, first + images), alike)), range(first, first + images))
    return halves


def least_damage(moment: Tensor, ridge: Tensor, keys: Tensor) -> Tensor:
    """What a memory says of the least damage at which each key gets something new."""
    found = torch.linalg.solve(moment + torch.diag(ridge), keys.T).T
    found = found / (found * keys).sum(dim=1, keepdim=True)
    return ((found @ moment) * found).sum(dim=1)


@pytest.mark.parametrize(("images", "alike"), [(40, 0.5), (80, 0.5), (80, 0.9), (40, 0.0)])
def test_the_bias_is_that_of_memories_of_as_many_images(images, alike):
    """Each memory's forecast lies below that of ten times as many images; by how much is known from its own halves."""
    keys = features(range(77, 109), alike)[:, :, 0, 0].double()
    ridge = MIXING.double().square().sum(dim=1)

    def said(first: int, count: int) -> float:
        halves = halves_of(count, first, alike)
        return float(least_damage(halves.total() / halves.count, ridge, keys).log().mean())

    firsts = range(1000, 1000 + 20 * images, images)
    shortfall = 1 - math.exp(np.mean([said(first, images) for first in firsts]) - said(50_000, 10 * images))
    told = np.mean([halves_of(images, first, alike).accuracy().bias for first in firsts])
    assert 0.6 * shortfall < told < 1.5 * shortfall


def test_the_noise_is_the_spread_of_forecasts_over_other_images():
    keys = torch.cat([features(range(first, first + 4)) for first in range(0, 80, 4)])[:, :, 0, 0].double()
    ridge = MIXING.double().square().sum(dim=1)
    halves = [halves_of(60, first) for first in range(1000, 3400, 60)]
    said = torch.stack([least_damage(each.total() / each.count, ridge, keys).reshape(20, 4).sum(1) for each in halves])
    spread = float(said.log().std(dim=0).mean())
    told = np.mean([each.accuracy().noise for each in halves])
    assert 0.7 * spread < told < 2 * spread


def test_the_bias_is_what_directions_of_one_half_do_in_the_other():
    """In float64, by a factor in place of conjugate gradients."""
    halves, keys = halves_of(40), read_keys(LAYER, features(PROBES), PROBES, 1).double()
    first, second = (sums.total() / sums.count for sums in halves.halves)
    ridge, ratios = (halves.total() / halves.count).diagonal(), []
    for mine, other in ((first, second), (second, first)):
        found = torch.linalg.solve(mine + torch.diag(ridge), keys.T).T
        said, true = (((found @ moment) * found).sum(dim=1) for moment in (mine, other))
        ratios.append(true / said)
    ratio = float(torch.cat(ratios).log().mean().exp())
    assert halves.accuracy().bias == pytest.approx(0.45 * (1 - ratio**-0.5), rel=1e-3)


@pytest.mark.parametrize("size", [1e-7, 1e7])
def test_the_accuracy_does_not_depend_on_the_size_of_what_a_layer_reads(size):
    one, other = halves_of(40).accuracy(), halves_of(40, size=size).accuracy()
    assert (other.bias, other.noise) == pytest.approx((one.bias, one.noise), rel=1e-3)


def test_an_input_that_is_always_zero_says_nothing_of_the_accuracy():
    def accuracy(inputs: list[int], unused: int) -> Accuracy:
        layer = Layer("l", "l", "convolution", len(inputs) + unused, 8, (4, 4))
        halves = Halves(layer, "patch", torch.device("cpu"))
        for take, seeds in ((halves.ask, PROBES), (halves.add, range(40))):
            maps = features(seeds)[:, inputs]
            take(Cut(None, torch.cat([maps, maps.new_zeros(len(maps), unused, 4, 4)], dim=1)), seeds)
        return halves.accuracy()

    used, both = accuracy(list(range(30)), 0), accuracy(list(range(30)), 2)
    assert (both.bias, both.noise) == pytest.approx((used.bias, used.noise), rel=1e-3)


@pytest.mark.parametrize("grid", [(3, 4), (4, 3), (1, 9)])
@pytest.mark.parametrize("key_space", ["patch", "channel"])
def test_every_place_of_maps_that_are_not_square_is_read_or_asked_for(grid, key_space):
    maps = torch.randn(40, 5, *grid, generator=torch.Generator().manual_seed(0))
    halves = Halves(Layer("l", "l", "convolution", 5, 8, grid), key_space, maps.device)
    halves.ask(Cut(None, maps), range(40))
    halves.add(Cut(None, maps), range(40))
    assert halves.count == 40 * grid[0] * grid[1]
    assert 0 < halves.accuracy().off < 1


def test_more_images_make_a_memory_more_accurate_as_foreseen():
    few, many = (halves_of(images).accuracy() for images in (16, 1024))
    assert few.off > 2 * many.off
    assert not few.enough
    assert many.enough
    assert 16 < few.needed < 200


def test_what_is_needed_is_what_is_enough():
    for bias, noise in ((0.3, 0.0), (0.0, 0.3), (0.2, 0.1)):
        needed = Accuracy(100, bias, noise).needed
        less = 100 / needed
        assert Accuracy(needed, bias * less, noise * less**0.5).off == pytest.approx(0.1, abs=0.002)
    assert Accuracy(100, 0.0, 0.0).needed == 0


@pytest.mark.parametrize("key_space", ["patch", "channel"])
@pytest.mark.parametrize("name", ["conv", "up", "grouped"])
def test_auto_reads_until_more_images_would_hardly_move_the_forecast(plain_generator, name, key_space):
    said: list[int] = []
    memory = measure(plain_generator, name, key_space=key_space, on_progress=said.append)
    assert memory.accuracy is not None
    assert memory.accuracy.enough
    assert memory.accuracy.images == memory.images == said[-1] < 2000
    assert memory.seeds == ((1_000_000, 1_000_000 + memory.images),)
    whole = measure(plain_generator, name, 4 * memory.images, key_space=key_space, first_seed=5)
    assert (memory.second_moment - whole.second_moment).norm() < 0.2 * whole.second_moment.norm()


def test_auto_asks_again_a_little_later_than_it_should_be_enough_neither_at_once_nor_far_later(
    plain_generator, monkeypatch
):
    # What it is told each time: that 240 images are enough, 245, 10,000; and then that there are enough.
    foreseen, read, asked = iter([240, 245, 10_000, 0]), [], []

    class Foreseen(Accuracy):
        needed = property(lambda self: int(self.noise))

    def accuracy(halves: Halves) -> Accuracy:
        needed = next(foreseen)
        asked.append(read[-1])
        return Foreseen(read[-1], 0.0, float(needed))

    monkeypatch.setattr(Halves, "accuracy", accuracy)
    assert measure(plain_generator, "conv", on_progress=read.append).images == 790
    assert asked == [200, 1.2 * 240, int(1.1 * 288), 2.5 * 316]


def test_auto_ends_when_the_most_images_are_read(plain_generator, monkeypatch):
    monkeypatch.setattr("rewrite.memory.measurement.MOST", 230)
    monkeypatch.setattr("rewrite.memory.accuracy.WITHIN", 1e-6)
    memory = measure(plain_generator, "conv")
    assert memory.images == 230
    assert memory.accuracy is not None
    assert memory.accuracy.why == "the most images that are read were read"


def test_auto_measures_the_same_whatever_the_batch(plain_generator):
    one, many = (measure(plain_generator, "conv", batch=batch) for batch in (5, 16))
    assert one.images == many.images
    torch.testing.assert_close(one.total, many.total, rtol=1e-5, atol=1e-5 * float(many.total.abs().max()))


def test_auto_of_a_modulated_layer_knows_the_style_power(tiny_generator):
    memory = measure(tiny_generator, "b8.conv1")
    style = tiny_generator.cut("b8.conv1", tiny_generator.latents(range(*memory.seeds[0]))).style.double()
    torch.testing.assert_close(memory.mean_style_power, style.square().mean(dim=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("key_space", ["patch", "channel"])
def test_a_layer_that_reads_only_zeros_is_measured(plain_generator, key_space):
    plain_generator.module["lift"].weight.zero_()
    plain_generator.module["lift"].bias.zero_()
    memory = measure(plain_generator, "conv", key_space=key_space)
    assert not memory.total.any()
    assert memory.accuracy == Accuracy(memory.images, 0.0, 0.0)


def test_auto_refuses_a_network_that_gives_nan(plain_generator):
    plain_generator.module["lift"].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="layer conv reads values that are not finite"):
        measure(plain_generator, "conv")


def test_a_word_that_is_not_auto_is_refused(plain_generator):
    with pytest.raises(ValueError, match="samples must be a number or auto, got 'many'"):
        measure(plain_generator, "conv", "many")


@pytest.mark.parametrize("sign", ["any", "positive"])
def test_a_sum_in_blocks_keeps_the_bound_that_it_states(sign):
    """Keys of very unequal sizes, of one sign (where rounding adds up) and of both."""
    draws = torch.Generator().manual_seed(0)
    keys = torch.randn(24, 3 * BLOCK + 77, generator=draws) * torch.logspace(-4, 4, 24)[:, None]
    keys = keys.abs() if sign == "positive" else keys
    total = Total(24, torch.device("cpu"), BLOCK)
    for part in keys.split(1000, dim=1):
        total.add(part)
    exact, found = keys.double() @ keys.double().T, total.lower().tril()
    energy = exact.diagonal().sqrt()
    error = ((found - exact.tril()).abs() / (energy[:, None] * energy)).max()
    assert 0 < error < BLOCK * 2**-24
    # Rounding mostly cancels: the error is far below the bound.
    assert error < 1e-5


def test_without_blocks_every_product_is_in_float64():
    maps = torch.randn(3, 40, 4, 4, generator=torch.Generator().manual_seed(0))
    sums, keys = Sums(LAYER, 16, maps.device), LAYER.keys(maps.double()).flatten(0, 1)
    sums.add(Cut(None, maps), (1, 2, 3))
    torch.testing.assert_close(sums.total(), keys.T @ keys, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("by_key", [True, False])
def test_keys_wait_until_there_is_a_block_of_them_and_a_sum_that_was_put_aside_goes_on_to_the_same(by_key):
    keys = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    total, waiting = Total(6, torch.device("cpu"), 10), []
    for part in keys.split(4, dim=1):
        total.add(part.T.contiguous().T if by_key else part.contiguous())
        aside = {name: each.clone() for name, each in total.tensors().items()}
        waiting.append(aside["columns"].shape[0] if by_key else aside["rows"].shape[1])
        total = Total(6, torch.device("cpu"), 10)
        total.take(aside)
    assert waiting == [4, 8, 4, 8, 4, 8, 4, 8, 4, 8, 4, 8, 10]
    torch.testing.assert_close(total.lower().tril(), (keys @ keys.T).double().tril(), rtol=1e-5, atol=1e-5)
    assert set(total.tensors()) == {"sum"}


@pytest.mark.parametrize(
    "aside",
    [
        {"sum": torch.zeros(5, 5).double()},
        {"sum": torch.zeros(6, 6)},
        {"sum": torch.zeros(6, 6).double(), "rows": torch.zeros(5, 3)},
        {"sum": torch.zeros(6, 6).double(), "columns": torch.zeros(11, 6)},
        {"sum": torch.zeros(6, 6).double(), "rows": torch.zeros(6)},
    ],
)
def test_sums_of_another_layer_are_not_gone_on_with(aside):
    with pytest.raises(ValueError, match=r"of shape|another layer"):
        Total(6, torch.device("cpu"), 10).take(aside)


@pytest.mark.parametrize(("layer", "key_space"), [("conv", "patch"), ("up", "patch"), ("conv", "channel")])
def test_sums_that_were_put_aside_are_those_that_go_on(plain_generator, layer, key_space):
    described, cut = plain_generator.layer(layer), plain_generator.cut(layer, plain_generator.latents(range(3)))

    def sums() -> Sums:
        return Sums(described, 5 if key_space == "patch" else None, plain_generator.device, blocks=True)

    first, again = sums(), sums()
    first.add(cut, range(3))
    again.take({name: each.clone() for name, each in first.tensors().items()})
    assert (again.images, again.count) == (first.images, first.count) == (3, first.count)
    assert torch.equal(again.total(), first.total())
    assert again.total().any()
    torch.testing.assert_close(again.energy.cpu(), again.total().diagonal())


def test_the_entries_of_a_phase_are_those_of_the_keys_that_have_any():
    keys = torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 0.0]])
    assert part_of(keys, torch.tensor([0, 2])).tolist() == [[1.0, 2.0]]
    assert part_of(keys, torch.tensor([1, 3])).tolist() == [[3.0, 0.0]]
    assert part_of(keys, torch.arange(4)) is keys


def test_a_network_of_float64_is_summed_in_float64():
    maps = torch.randn(3, 40, 4, 4, dtype=torch.float64)
    sums = Sums(LAYER, 16, maps.device, blocks=True)
    sums.add(Cut(None, maps), (1, 2, 3))
    keys = LAYER.keys(maps).flatten(0, 1)
    torch.testing.assert_close(sums.total(), keys.T @ keys, rtol=1e-13, atol=1e-13)


def test_a_network_of_half_precision_is_summed_in_float32(plain_generator):
    assert measure(plain_generator.to(torch.float16), "conv").accuracy is not None
    layer, cut = plain_generator.layer("conv"), plain_generator.cut("conv", plain_generator.latents(range(8)))
    assert cut.features.dtype == torch.float16
    sums = Sums(layer, 36, plain_generator.device, blocks=True)
    sums.add(cut, range(8))
    keys = layer.keys(cut.features.double()).flatten(0, 1)
    torch.testing.assert_close(sums.total(), keys.T @ keys, rtol=1e-5, atol=1e-5)


def test_a_file_says_how_accurate_its_memory_is(plain_generator, tmp_path):
    memory = measure(plain_generator, "conv")
    memory.save(tmp_path / "auto.safetensors")
    assert Memory.load(tmp_path / "auto.safetensors").accuracy == memory.accuracy
    assert f"forecast within {memory.accuracy.off:.0%}" in repr(memory)
    counted = measure(plain_generator, "conv", 10, first_seed=5)
    counted.save(tmp_path / "counted.safetensors")
    assert Memory.load(tmp_path / "counted.safetensors").accuracy is None
    assert (memory + counted).accuracy is None


@pytest.mark.parametrize(
    "said",
    [
        *(7, {}, {"images": 0}, {"images": 0, "bias": 0, "noise": 0}),
        *({"images": 5, "bias": bias, "noise": noise} for bias, noise in ((-0.1, 0), (1, 0), (0, -0.1), (0, math.inf))),
    ],
)
def test_a_file_that_says_nonsense_of_its_accuracy_is_refused(plain_generator, tmp_path, said, monkeypatch):
    path = tmp_path / "memory.safetensors"
    memory = measure(plain_generator, "conv")
    monkeypatch.setattr("rewrite.memory.memory.asdict", lambda accuracy: said)
    memory.save(path)
    with pytest.raises(ValueError, match="damaged memory"):
        Memory.load(path)
