"""A layer's keys and matrix are the layer: checked against torch's own convolutions."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from rewrite.generators.layers import Layer, beyond

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


def describe(module: nn.Conv2d | nn.ConvTranspose2d, grid: tuple[int, int]) -> Layer:
    transposed = isinstance(module, nn.ConvTranspose2d)
    return Layer(
        name="layer",
        weight="weight",
        kind="transposed" if transposed else "convolution",
        inputs=module.in_channels,
        outputs=module.out_channels,
        grid=grid,
        kernel=module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        output_padding=module.output_padding if transposed else (0, 0),
        dilation=module.dilation,
        groups=module.groups,
        inputs_first=transposed,
    )


@st.composite
def convolutions(draw):
    groups = draw(st.integers(1, 2))
    options = {
        "kernel_size": draw(PAIR),
        "stride": draw(PAIR),
        "dilation": draw(PAIR),
        "groups": groups,
        "bias": False,
    }
    options["padding"] = tuple(draw(st.integers(0, side)) for side in options["kernel_size"])
    inputs, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    if draw(st.booleans()):
        limits = [max(stride, dilation) - 1 for stride, dilation in zip(options["stride"], options["dilation"])]
        options["output_padding"] = tuple(draw(st.integers(0, limit)) for limit in limits)
        options["padding"] = tuple(
            min(p, d * (k - 1)) for p, d, k in zip(options["padding"], options["dilation"], options["kernel_size"])
        )
        return nn.ConvTranspose2d(inputs, outputs, **options).double()
    return nn.Conv2d(inputs, outputs, **options).double()


@settings(deadline=None, max_examples=150)
@given(convolutions(), st.integers(7, 9), st.integers(7, 9))
def test_matrix_times_keys_is_the_convolution(module, height, width):
    layer = describe(module, (height, width))
    features = torch.randn(2, module.in_channels, height, width, dtype=torch.float64)
    expected = module(features)
    assert layer.output_grid == tuple(expected.shape[2:])
    written = layer.values(layer.keys(features).flatten(0, 1), layer.matrix(module.weight)).unflatten(0, (2, -1))
    torch.testing.assert_close(written.transpose(1, 2).reshape(expected.shape), expected)
    torch.testing.assert_close(layer.apply(features, module.weight), expected)
    torch.testing.assert_close(layer.weight_from(layer.matrix(module.weight)), module.weight, rtol=0, atol=0)


@settings(deadline=None, max_examples=60)
@given(convolutions(), st.integers(0, 10_000))
def test_chosen_positions_are_rows_of_all_positions(module, seed):
    layer = describe(module, (8, 7))
    features = torch.randn(3, module.in_channels, 8, 7, dtype=torch.float64)
    everything = layer.keys(features)
    generator = torch.Generator().manual_seed(seed)
    positions = torch.randint(everything.shape[1], (3, 5), generator=generator)
    chosen = layer.keys(features, positions)
    assert torch.equal(chosen, torch.stack([everything[i, positions[i]] for i in range(3)]))


@settings(deadline=None, max_examples=60)
@given(convolutions())
@example(nn.ConvTranspose2d(2, 1, (3, 2), stride=(1, 2), bias=False).double())
@example(nn.ConvTranspose2d(1, 1, 3, stride=(3, 2), bias=False).double())
@example(nn.ConvTranspose2d(4, 2, (2, 3), stride=(2, 3), groups=2, bias=False).double())
def test_entries_of_a_key_are_of_one_phase_where_some_position_reads_them_together(module):
    layer = describe(module, (9, 9))
    keys = layer.keys(torch.ones(1, layer.inputs, 9, 9, dtype=torch.float64))[0]
    # The kernel fits between the borders, so that whatever is read together is read together somewhere.
    together = (keys.T @ keys > 0)[: layer.width // layer.groups, : layer.width // layer.groups]
    phases = layer.phases()
    same = torch.zeros_like(together)
    for columns in phases:
        same[columns[:, None], columns] = True
    assert torch.equal(together, same)
    assert torch.cat(phases).sort().values.tolist() == list(range(layer.width // layer.groups))


@pytest.mark.parametrize("name", ["b16.conv0", "b16.conv1", "b16.torgb", "b8.conv0"])
def test_what_a_cell_writes_is_centred_where_the_overhang_says(tiny_generator, name):
    layer, cut = tiny_generator.layer(name), tiny_generator.cut(name, tiny_generator.latents([3]))
    tiny_generator.bias(name).fill_(100.0)  # far from the kink of the activation
    written = torch.zeros(1, layer.outputs, *layer.output_grid)
    spot = written.clone()
    spot[:, :, 3, 5] = 1.0
    factor = tiny_generator.demodulation(name, cut.style)
    shown = (tiny_generator.finish(name, cut, spot, factor) - tiny_generator.finish(name, cut, written, factor))[0, 0]
    for axis, cell in ((0, 3), (1, 5)):
        places, side = (torch.arange(shown.shape[axis]) + 0.5), shown.shape[axis]
        centre = float((shown.sum(dim=1 - axis) * places).sum() / shown.sum())
        expected = (cell + 0.5 - layer.overhang) * side / (layer.output_grid[axis] - 2 * layer.overhang)
        assert centre == pytest.approx(expected, abs=1e-2)


@settings(deadline=None, max_examples=15)
@given(PAIR.map(lambda pair: (2 * pair[0], 2 * pair[1])), PAIR)
def test_an_even_kernel_that_keeps_the_size_reads_more_below_and_on_the_right(kernel, dilation):
    reach = [d * (k - 1) for d, k in zip(dilation, kernel)]
    padding, extra = (reach[0] // 2, reach[1] // 2), (reach[0] % 2, reach[1] % 2)
    layer = Layer(
        name="layer",
        weight="weight",
        kind="convolution",
        inputs=2,
        outputs=3,
        grid=(9, 7),
        kernel=kernel,
        dilation=dilation,
        padding=padding,
        extra_padding=extra,
    )
    features, weight = torch.randn(2, 2, 9, 7).double(), torch.randn(3, 2, *kernel).double()
    around = (padding[1], padding[1] + extra[1], padding[0], padding[0] + extra[0])
    expected = nn.functional.conv2d(nn.functional.pad(features, around), weight, dilation=dilation)
    keys = layer.keys(features)
    assert layer.output_grid == tuple(expected.shape[2:]) == (9, 7)
    torch.testing.assert_close(layer.apply(features, weight), expected)
    torch.testing.assert_close((keys @ layer.matrix(weight).T).transpose(1, 2).unflatten(2, (9, 7)), expected)
    assert torch.equal(layer.keys(features, torch.arange(63).expand(2, -1)), keys)


@pytest.mark.parametrize("kind", ["linear", "convolution", "transposed"])
def test_the_stored_weight_of_a_scaled_layer_comes_back_from_its_matrix(kind):
    side = 1 if kind == "linear" else 3
    layer = Layer("layer", "weight", kind, inputs=4, outputs=6, grid=(5, 5), kernel=(side, side), gain=0.25)
    weight = torch.randn((6, 4) if kind == "linear" else (6, 4, 3, 3))
    torch.testing.assert_close(layer.weight_from(layer.matrix(weight)), weight, rtol=0, atol=0)


def test_a_linear_layer_is_the_case_of_one_position():
    module = nn.Linear(5, 4, bias=False)
    layer = Layer("fc", "weight", "linear", inputs=5, outputs=4, grid=(1, 1), gain=0.5)
    features = torch.randn(3, 5, 1, 1)
    written = layer.apply(features, module.weight)[:, :, 0, 0]
    torch.testing.assert_close(written, 0.5 * module(features[:, :, 0, 0]))
    torch.testing.assert_close(layer.keys(features)[:, 0] @ layer.matrix(module.weight).T, written)


@pytest.mark.parametrize("name", ["b4.conv1", "b8.conv0", "b8.conv1", "b16.torgb"])
def test_every_stylegan2_layer_writes_what_its_matrix_says(tiny_generator, name):
    layer, cut = tiny_generator.layer(name), tiny_generator.cut(name, tiny_generator.latents([3, 4]))
    written = layer.apply(cut.features, tiny_generator.weight(name))
    keys, matrix = layer.keys(cut.features), layer.matrix(tiny_generator.weight(name))
    torch.testing.assert_close((keys @ matrix.T).transpose(1, 2).reshape(written.shape), written, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kernel", "padding"), [((1, 1), (0, 0)), ((3, 3), (1, 1)), ((5, 7), (2, 3))])
def test_a_convolution_of_stylegan2_keeps_the_side_or_doubles_it_with_half_a_cell_around(kernel, padding):
    layer = Layer.of_stylegan2("l", "w", (4, 3, *kernel), (8, 6), up=False)
    assert (layer.padding, layer.output_grid, layer.overhang) == (padding, (8, 6), 0.0)
    doubled = Layer.of_stylegan2("l", "w", (4, 3, 3, 3), (8, 6), up=True)
    assert (doubled.padding, doubled.output_grid, doubled.overhang) == ((0, 0), (17, 13), 0.5)


def test_margins_are_one_for_all_sides_or_above_below_left_and_right():
    assert beyond(2, 0) == beyond(2, 1) == (2.0, 2.0)
    assert (beyond((1.0, 2.0, 3.0, 4.0), 0), beyond((1.0, 2.0, 3.0, 4.0), 1)) == ((1.0, 2.0), (3.0, 4.0))
