"""The 2020 paper's method as it was released: its directions, its window, and what it delivers."""

import numpy as np
import pytest
import torch

from apps.bench.descent import paper_descent
from apps.bench.released import Crop, context_rows, released_patch
from rewrite import Generator, Latent, Mask, Region, Rule, measure
from rewrite.goals.scene import latents_of


@pytest.fixture
def generator(tiny_generator) -> Generator:
    for name, each in tiny_generator.module.named_parameters():
        if name.endswith("noise_strength"):
            each.data.zero_()
    return tiny_generator


def region(seed: int, top: int, left: int, side: int) -> Region:
    array = np.zeros((16, 16), dtype=bool)
    array[top : top + side, left : left + side] = True
    return Region(Latent(seed), Mask.from_array(array))


def rule_on(generator: Generator, layer: str, **more) -> Rule:
    given = {"copy": (region(1, 4, 4, 4),), "paste": region(2, 8, 2, 4), "context": (region(3, 6, 6, 2),)}
    return Rule("shift", generator.fingerprint, layer, **given | more)


def cut(generator: Generator, layer: str, seed: int):
    return generator.cut(layer, latents_of(generator, [Latent(seed)]))


def test_the_direction_of_one_key_is_the_inverse_second_moment_times_that_key(generator):
    memory = measure(generator, "b8.conv1", 64, key_space="channel")
    rows = context_rows(generator, memory, rule_on(generator, "b8.conv1"), 1)
    key = cut(generator, "b8.conv1", 3).features[0, :, 3, 3].double()
    expected = torch.linalg.solve(memory.second_moment, key)
    found = rows.unflatten(1, (-1, 9))[4, :, 4]
    assert float(torch.cosine_similarity(found, expected, dim=0).abs().detach()) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(rows @ rows.T, torch.eye(9, dtype=torch.float64))


@pytest.mark.parametrize(("layer", "scale"), [("b8.conv1", 2), ("b16.conv0", 1)])
def test_the_window_shows_the_copy_in_the_middle_of_the_place(generator, layer, scale):
    crop = Crop.pasted(generator, rule_on(generator, layer))
    copied = generator.output(layer, cut(generator, layer, 1))
    side = 4 // scale
    expected = copied[:, :, 4 // scale : 4 // scale + side, 4 // scale : 4 // scale + side]
    torch.testing.assert_close(crop.wanted, expected)
    read = cut(generator, layer, 2).features
    torch.testing.assert_close(crop.features, read[:, :, 4:6, 1:3])


def test_a_copy_with_nothing_to_change_has_a_loss_of_the_windows_border_alone(generator):
    layer, place = "b8.conv1", region(2, 2, 2, 12)
    crop = Crop.pasted(generator, rule_on(generator, layer, copy=(place,), paste=place))
    written = generator.layer(layer).apply(crop.features, generator.weight(layer))
    factor = generator.demodulation(layer, crop.cut.style)
    missed = (generator.finish(layer, crop.cut, written, factor) - crop.wanted).abs()
    assert float(missed[:, :, 1:-1, 1:-1].max()) < 1e-5 < float(missed.max())


@pytest.mark.parametrize("action", ["paste", "erase"])
def test_what_is_delivered_is_the_descent_within_the_directions_of_the_context(generator, action, monkeypatch):
    monkeypatch.setattr("apps.bench.released.ERASED_UNITS", 3)
    layer, rule = generator.layer("b8.conv1"), rule_on(generator, "b8.conv1", action=action)
    memory, before = measure(generator, layer.name, 64, key_space="channel"), generator.fingerprint
    patch = released_patch(generator, memory, rule, steps=31)
    rows = context_rows(generator, memory, rule, 1).float()
    change = patch.left @ patch.right
    torch.testing.assert_close(change @ rows.T @ rows, change, rtol=1e-4, atol=1e-5)
    crop = Crop.erased(generator, memory, rule) if action == "erase" else Crop.pasted(generator, rule)
    descent = paper_descent(layer.outputs, crop.loss(generator, layer.name), rows, steps=31)
    torch.testing.assert_close(change.double(), descent.change, rtol=1e-4, atol=1e-5)
    assert descent.reported < descent.start
    assert generator.fingerprint == before
