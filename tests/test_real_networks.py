"""Trained networks of other people, as they stand: wrapped, measured, edited and restored; skipped where missing."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rewrite import Mask, measure, solve, wrap
from rewrite.rule import Latent, Region, Rule

FOLDER = Path(__file__).parents[2] / "shared" / "weights"
LAYERS = {
    "anime_faces128": "blocks.8.conv1",
    "house_numbers32": "deconv2",
    "faces32": "generator_deconv.2.0",
    "santa_cruz": "scene.scales.3.body.block2.conv",
}

pytestmark = pytest.mark.skipif(not (FOLDER / "networks.py").exists(), reason="the folder of real networks is missing")


class OfRows(nn.Module):
    """A scene that reads the noise of all its scales in one row."""

    def __init__(self, scene: nn.Module):
        super().__init__()
        self.scene, self.shapes = scene, [tensor.shape[1:] for tensor in scene.sample_latents()]

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        parts = rows.split([shape.numel() for shape in self.shapes], dim=1)
        return self.scene([part.reshape(len(rows), *shape) for part, shape in zip(parts, self.shapes, strict=True)])


def real(name: str):
    """One of the networks as a generator."""
    spec = importlib.util.spec_from_file_location("networks", FOLDER / "networks.py")
    networks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(networks)
    network = networks.NETWORKS[name]().requires_grad_(False)
    if name == "anime_faces128":
        return wrap(network, lambda seeds: torch.cat([network.sample_latents(1, seed) for seed in seeds]))
    if name == "house_numbers32":
        return wrap(network, 100)
    if name == "faces32":
        return wrap(network, lambda seeds: torch.stack([uniform(seed) for seed in seeds]))
    return wrap(OfRows(network), lambda seeds: torch.stack([noise(network, seed) for seed in seeds]))


def uniform(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(seed).uniform(-1, 1, 100)).float()


def noise(scene: nn.Module, seed: int) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in scene.sample_latents(seed)])


def edit(generator, layer: str, samples: int):
    """A rule that copies the middle of one image to the middle of others."""
    height, width = generator.size
    mask = np.zeros((height, width), dtype=bool)
    mask[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = True
    copy, *places = (Region(Latent(seed), Mask.from_array(mask)) for seed in range(5))
    rule = Rule("middle", generator.fingerprint, layer, copy=(copy,), context=tuple(places))
    rule = rule.with_settings(key_space="channel")
    return solve(generator, measure(generator, layer, samples, key_space="channel"), rule)


@pytest.mark.parametrize("name", LAYERS)
def test_a_real_network_is_measured_edited_and_restored(name):
    generator = real(name)
    assert len(generator.layers) >= 3
    large = name == "santa_cruz"
    seeds = [7] if large else [7, 8]
    before, weight = generator.sample(seeds), generator.weight(LAYERS[name]).clone()
    assert before.std() > 0.1
    patch = edit(generator, LAYERS[name], 3 if large else 60)
    assert patch.forecast["residual"] < 0.9
    with patch.applied(generator):
        after = generator.sample(seeds)
    assert (after - before).abs().mean() > 1e-3
    assert torch.equal(generator.weight(LAYERS[name]), weight)
    torch.testing.assert_close(generator.sample(seeds), before, rtol=0, atol=1e-6)
