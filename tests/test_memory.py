"""The second moment, against keys read one by one."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from test_layers import convolutions
from test_layers import describe as describe_module
from torch import nn

from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer
from rewrite.memory import Memory, describe, measure, measurement
from rewrite.memory.accuracy import Accuracy
from rewrite.memory.sums import Sums, positions_per_image
from rewrite.storage import files

LAYERS = [("tiny_generator", "b4.torgb"), ("tiny_generator", "b8.conv1"), ("tiny_generator", "b8.conv0")]
LAYERS += [("plain_generator", "conv"), ("plain_generator", "grouped"), ("plain_generator", "up")]


def keys_one_by_one(layer: Layer, features: torch.Tensor) -> torch.Tensor:
    """What each output position reads, tap by tap, from the definition of (transposed) convolution."""
    tall, wide = layer.output_grid
    keys = torch.zeros(len(features), tall, wide, layer.inputs, *layer.kernel, dtype=torch.float64)
    for row, column, down, right in np.ndindex(tall, wide, *layer.kernel):
        place = [_read_at(layer, axis, at, tap) for axis, (at, tap) in enumerate(((row, down), (column, right)))]
        if all(0 <= at < side for at, side in zip(place, layer.grid)):
            keys[:, row, column, :, down, right] = features[:, :, int(place[0]), int(place[1])].double()
    return keys.flatten(0, 2).flatten(1)


def _read_at(layer: Layer, axis: int, at: int, tap: int) -> float:
    """The row (or column) of the input at a tap; not one of the grid where nothing is read."""
    if layer.kind != "transposed":
        return at * layer.stride[axis] + tap - layer.padding[axis]
    place = at + layer.padding[axis] - (layer.kernel[axis] - 1 - tap)
    return place // layer.stride[axis] if place % layer.stride[axis] == 0 else -1


@pytest.mark.parametrize(("which", "name"), LAYERS)
def test_patch_memory_of_all_positions_is_that_of_keys_read_one_by_one(request, which, name):
    generator = request.getfixturevalue(which)
    layer = generator.layer(name)
    height, width = layer.output_grid
    assert positions_per_image(layer, 3) == height * width
    memory = measure(generator, name, 3, first_seed=7)
    features = generator.cut(name, generator.latents([7, 8, 9])).features
    keys = keys_one_by_one(layer, features)
    assert memory.count == len(keys) == 3 * height * width
    torch.testing.assert_close(memory.total, keys.T @ keys, rtol=1e-5, atol=1e-5 * float(memory.total.abs().max()))


@pytest.mark.parametrize(("which", "name"), LAYERS)
def test_channel_memory_is_that_of_every_position_of_the_input(request, which, name):
    generator = request.getfixturevalue(which)
    memory = measure(generator, name, 3, key_space="channel", first_seed=7)
    features = generator.cut(name, generator.latents([7, 8, 9])).features.double()
    expected = sum(torch.outer(image[:, y, x], image[:, y, x]) for image in features for y, x in positions(image))
    assert memory.count == 3 * len(list(positions(features[0])))
    torch.testing.assert_close(
        memory.second_moment, expected / memory.count, rtol=1e-5, atol=1e-5 * float(memory.second_moment.abs().max())
    )


def positions(image: torch.Tensor):
    return np.ndindex(*image.shape[1:])


def test_the_style_power_is_the_mean_square_of_the_modulation(tiny_generator):
    style = tiny_generator.cut("b8.conv1", tiny_generator.latents(range(7, 12))).style.double()
    memory = measure(tiny_generator, "b8.conv1", 5, first_seed=7, batch=2)
    torch.testing.assert_close(memory.mean_style_power, style.square().mean(dim=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("which", "name"), [("tiny_generator", "b8.torgb"), ("plain_generator", "conv")])
def test_a_layer_without_demodulation_has_no_style_power(request, which, name):
    assert measure(request.getfixturevalue(which), name, 2).mean_style_power.numel() == 0


@pytest.mark.parametrize("key_space", ["patch", "channel"])
@pytest.mark.parametrize("name", ["conv", "up"])
def test_the_batch_size_changes_nothing_but_the_last_digits_of_a_sum(plain_generator, name, key_space):
    one, seven = (measure(plain_generator, name, 20, key_space=key_space, batch=batch) for batch in (1, 7))
    assert one.count == seven.count
    torch.testing.assert_close(one.total, seven.total, rtol=1e-12, atol=1e-12 * float(one.total.abs().max()))


def test_the_batch_size_changes_a_float32_network_by_its_own_rounding_only(tiny_generator):
    one, seven = (measure(tiny_generator, "b16.conv0", 20, batch=batch) for batch in (1, 7))
    torch.testing.assert_close(one.total, seven.total, rtol=1e-5, atol=1e-6 * float(one.total.abs().max()))


def test_two_halves_added_are_the_whole(plain_generator, monkeypatch):
    monkeypatch.setattr("rewrite.memory.measurement.positions_per_image", lambda layer, samples: 10)
    first, second = (measure(plain_generator, "conv", 6, first_seed=seed) for seed in (100, 106))
    whole = measure(plain_generator, "conv", 12, first_seed=100)
    for joined in (first + second, second + first):
        torch.testing.assert_close(joined.total, whole.total, rtol=1e-12, atol=1e-12 * float(whole.total.abs().max()))
        assert (joined.count, joined.images) == (whole.count, whole.images)
        assert joined.seeds == ((100, 106), (106, 112))


def test_the_style_power_of_two_halves_added_is_that_of_the_whole(tiny_generator):
    first, second = (measure(tiny_generator, "b8.conv1", 1, first_seed=seed) for seed in (100, 101))
    styles = tiny_generator.cut("b8.conv1", tiny_generator.latents([100, 101])).style.double()
    torch.testing.assert_close(first.mean_style_power, styles[0].square(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close((first + second).mean_style_power, styles.square().mean(dim=0), rtol=1e-5, atol=1e-6)


def test_progress_is_the_number_of_images_read(plain_generator):
    read: list[int] = []
    measure(plain_generator, "conv", 10, first_seed=50, batch=4, on_progress=read.append)
    assert read == [4, 8, 10]


def test_sampled_positions_give_an_unbiased_second_moment(plain_generator, monkeypatch):
    """The mean error over many small memories lies within five of its standard errors, in every entry."""
    monkeypatch.setattr("rewrite.memory.measurement.positions_per_image", lambda layer, samples: 5)
    layer, errors = plain_generator.layer("conv"), []
    for first in range(0, 250, 5):
        memory = measure(plain_generator, "conv", 5, first_seed=first)
        assert memory.count == 25
        cut = plain_generator.cut("conv", plain_generator.latents(range(first, first + 5)))
        keys = layer.keys(cut.features).flatten(0, 1)
        errors.append(memory.second_moment - keys.T @ keys / len(keys))
    errors = torch.stack(errors)
    deviation = errors.std(dim=0) / len(errors) ** 0.5
    assert (errors.mean(dim=0).abs() < 5 * deviation + 1e-12).all()
    assert deviation.max() > 0


@settings(deadline=None, max_examples=40)
@given(convolutions())
@example(nn.Conv2d(40, 2, 3, padding=1, bias=False).double())
@example(nn.ConvTranspose2d(40, 4, 3, stride=2, groups=2, bias=False).double())
def test_the_sum_is_that_of_the_keys_of_any_layer(module):
    layer = describe_module(module, (8, 7))
    features = torch.randn(3, module.in_channels, 8, 7, dtype=torch.float64)
    keys = layer.keys(features).flatten(0, 1)
    sums = Sums(layer, len(keys) // 3, features.device)
    for images, seeds in ((features[:1], (7,)), (features[1:], (8, 9))):
        sums.add(Cut(None, images), seeds)
    assert sums.count == len(keys)
    torch.testing.assert_close(sums.total(), keys.T @ keys)
    assert torch.equal(sums.total(), sums.total().T)


def test_many_samples_are_read_at_few_positions_each(plain_generator):
    layer = plain_generator.layer("conv")
    assert positions_per_image(layer, 100) == 6
    # Twenty keys for each of 27 numbers.
    assert positions_per_image(layer, 27) == 20
    assert positions_per_image(layer, 10**6) == 4
    assert measure(plain_generator, "conv", 100).count == 100 * 6


def test_a_memory_belongs_to_its_layer_model_and_truncation(tiny_generator):
    memory = measure(tiny_generator, "b8.conv1", 2)
    memory.check(tiny_generator, "b8.conv1")
    with pytest.raises(ValueError, match=r"measured on layer b8\.conv1, not on layer b8\.conv0"):
        memory.check(tiny_generator, "b8.conv0")
    tiny_generator.truncation = 0.7
    with pytest.raises(ValueError, match=r"measured at truncation 1\.0, not 0\.7"):
        memory.check(tiny_generator, "b8.conv1")
    tiny_generator.truncation = 1.0
    tiny_generator.weight("b4.conv1").data.add_(1.0)
    tiny_generator.weight("b4.conv1").mul_(1.0)
    now = tiny_generator.fingerprint
    with pytest.raises(ValueError, match=f"measured on model {memory.model}, not on model {now}"):
        memory.check(tiny_generator, "b8.conv1")


@pytest.mark.parametrize(
    ("field", "other"), [("layer", "b8.conv0"), ("key_space", "channel"), ("model", "else"), ("truncation", 0.5)]
)
def test_memories_of_different_things_are_not_added(tiny_generator, field, other):
    memory = measure(tiny_generator, "b8.conv1", 2)
    changed = replace(memory, seeds=((5, 7),), **{field: other})
    with pytest.raises(ValueError, match=f"only if their {field} agree, got {getattr(memory, field)} and {other}"):
        memory + changed


@pytest.mark.parametrize("first", [98, 99, 100, 102])
def test_memories_that_share_seeds_are_not_added(plain_generator, first):
    memory = measure(plain_generator, "conv", 3, first_seed=100)
    with pytest.raises(ValueError, match=r"share seeds \(\(100, 103\) and .* count twice"):
        memory + measure(plain_generator, "conv", 3, first_seed=first)


def test_bad_questions_are_refused(plain_generator):
    with pytest.raises(ValueError, match="key_space must be one of patch, channel, got 'pixel'"):
        measure(plain_generator, "conv", 3, key_space="pixel")
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        measure(plain_generator, "conv", 0)
    with pytest.raises(LookupError, match="no layer 'convv'"):
        measure(plain_generator, "convv", 3)


def test_a_network_that_gives_nan_is_refused(plain_generator):
    plain_generator.module["lift"].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="layer conv reads values that are not finite"):
        measure(plain_generator, "conv", 3)


def test_a_saved_memory_comes_back_as_it_was(tiny_generator, tmp_path):
    memory = measure(tiny_generator, "b8.conv1", 4, first_seed=5)
    memory.save(tmp_path / "memory.safetensors")
    loaded = Memory.load(tmp_path / "memory.safetensors")
    for name in ("total", "style_power"):
        assert torch.equal(getattr(loaded, name), getattr(memory, name))
    for name in ("count", "images", "layer", "key_space", "model", "truncation", "seeds", "label", "noise"):
        assert getattr(loaded, name) == getattr(memory, name)
    assert describe(tmp_path / "memory.safetensors")["seeds"] == [[5, 9]]


@pytest.mark.parametrize(
    ("label", "shown"), [(0, ""), (1, ", class=1"), (None, ", class=mixed"), ("3,1", ", class=3,1")]
)
def test_a_memory_names_the_class_that_it_is_of_where_there_are_several(tmp_path, label, shown):
    about = {"label": label, "noise": "zero", "accuracy": Accuracy(1, 0.0, 0.0)}
    memory = Memory(torch.eye(2).double(), 8, torch.ones(2).double(), 1, "l", "patch", "m", **about)
    assert repr(memory) == (f"<Memory of l: patch keys=8, dimensions=2, images=1{shown}, model=m, forecast within 0%>")
    memory.save(tmp_path / "memory.safetensors")
    loaded = Memory.load(tmp_path / "memory.safetensors")
    assert (loaded.label, loaded.noise, loaded.accuracy) == tuple(about.values())
    plain = replace(memory, accuracy=None)
    assert repr(plain).endswith(", model=m>")


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_a_memory_that_is_cut_short_is_refused(plain_generator, tmp_path, share):
    path = tmp_path / "memory.safetensors"
    measure(plain_generator, "conv", 2).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path)


def test_another_kind_of_file_is_no_memory(tmp_path):
    files.save_tensors(tmp_path / "patch.safetensors", {"left": torch.zeros(2)}, "patch", {})
    assert "holds a patch, not a memory" in refused(tmp_path / "patch.safetensors")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total", torch.full((2, 2), float("nan")).double()),
        ("total", torch.full((2, 2), float("inf")).double()),
        ("total", -torch.eye(2).double()),
        ("total", torch.diag(torch.tensor([1.0, -0.01])).double()),
        ("total", torch.tensor([[1.0, 0.01], [0.0, 1.0]]).double()),
        ("total", torch.zeros(0, 0).double()),
        ("total", torch.eye(2)),
        ("total", torch.ones(2, 3).double()),
        ("total", torch.ones(2).double()),
        ("style_power", torch.full((2,), float("nan")).double()),
        ("style_power", torch.tensor([1.0, -0.01]).double()),
        ("style_power", torch.ones(2, 2).double()),
        ("count", 0),
        ("count", -5),
        ("count", 2**63),
        ("count", float("inf")),
        ("count", float("nan")),
        ("count", 10**400),
        ("count", "many"),
        ("count", None),
        ("images", 0),
        ("key_space", "pixel"),
        ("seeds", 7),
        ("seeds", [[1, 2, 3]]),
        ("seeds", [[1, float("inf")]]),
        ("seeds", [[seed, seed + 1] for seed in range(0, 20_002, 2)]),
        ("truncation", "no"),
    ],
)
def test_numbers_that_no_second_moment_has_are_refused(tmp_path, name, value):
    tensors = {"total": torch.eye(2).double(), "style_power": torch.ones(2).double()}
    about = {"count": 3, "images": 1, "layer": "l", "key_space": "patch", "model": "m", "truncation": 1.0, "seeds": []}
    path = tmp_path / "memory.safetensors"
    files.save_tensors(path, tensors, "memory", about)
    assert Memory.load(path).count == 3
    (tensors if name in tensors else about)[name] = value
    files.save_tensors(path, tensors, "memory", about)
    refused(path)
    del (tensors if name in tensors else about)[name]
    files.save_tensors(path, tensors, "memory", json.loads(json.dumps(about)))
    refused(path)


def test_a_memory_of_one_key_that_uses_few_channels_is_read(tmp_path):
    total, power = torch.diag(torch.tensor([0.25, 0.0])).double(), torch.tensor([0.5, 0.0]).double()
    memory = Memory(total, 1, power, 1, "l", "patch", "m", 1.0, ((3, 4),))
    memory.save(tmp_path / "memory.safetensors")
    loaded = Memory.load(tmp_path / "memory.safetensors")
    assert torch.equal(loaded.second_moment, total)
    assert torch.equal(loaded.mean_style_power, power)


def test_a_description_says_how_unequal_the_directions_of_a_layer_are(tmp_path):
    path = tmp_path / "memory.safetensors"
    for energy, condition in (((8.0, 2.0, 4.0), 4.0), ((2.0, 0.0, 2.0), 1e300)):
        total = torch.diag(torch.tensor(energy)).double()
        Memory(total, 2, torch.zeros(0).double(), 1, "l", "patch", "m", 1.0, ((3, 4),)).save(path)
        said = describe(path)
        assert said["condition"] == pytest.approx(condition)
        assert (said["dimensions"], said["keys"], said["images"]) == (3, 2, 1)


def refused(path) -> str:
    with pytest.raises(ValueError, match=path.name) as caught:
        Memory.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_large_maps_are_read_in_smaller_batches_with_the_same_keys(tiny_generator, monkeypatch):
    whole = measure(tiny_generator, "b16.conv1", 20)
    monkeypatch.setattr(measurement, "MOST_VALUES", 3 * 16 * tiny_generator.layer("b16.conv1").inputs * 16)
    assert measurement.Measurement(tiny_generator, "b16.conv1", 20).batch == 3
    parts = measure(tiny_generator, "b16.conv1", 20)
    # Maps of another batch differ in the last digits of single precision.
    torch.testing.assert_close(parts.total, whole.total, rtol=1e-5, atol=1e-4)
    assert parts.count == whole.count
