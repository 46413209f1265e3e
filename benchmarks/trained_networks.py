"""Trained networks of other people as generators; they stand in a folder of their own (`networks.py`, `files/`)."""

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from rewrite import Generator, wrap

SCENE_SCALES, SCENE_MARGIN = 6, 1


def load_network(folder: Path, name: str) -> Generator:
    """One of the networks as a generator; a scene of one photograph by its coarsest scales, all fed with noise."""
    networks = networks_of(folder)
    network = networks.NETWORKS[name]().requires_grad_(False)
    if name == "anime_faces128":
        return wrap(network, lambda seeds: torch.cat([network.sample_latents(1, seed) for seed in seeds]))
    if name == "faces32":
        return wrap(network, lambda seeds: torch.stack([_uniform(seed) for seed in seeds]))
    if name == "house_numbers32":
        return wrap(network, 100)
    scene = CoarseScene(network, SCENE_SCALES)
    inner = [f"scene.scales.{scale}.body.block3.conv" for scale in range(SCENE_SCALES)]
    return wrap(scene, scene.latents, margins=dict.fromkeys(inner, SCENE_MARGIN))


@cache
def networks_of(folder: Path) -> ModuleType:
    """The file that builds the networks."""
    spec = importlib.util.spec_from_file_location("networks", folder / "networks.py")
    assert spec is not None
    assert spec.loader is not None
    networks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(networks)
    return networks


def _uniform(seed: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).uniform(-1, 1, 100)).float()


class CoarseScene(nn.Module):
    """The coarsest scales of a scene, which reads the noise of all of them in one row."""

    def __init__(self, scene: nn.Module, scales: int):
        super().__init__()
        scene.sizes, scene.amp, scene.scales = scene.sizes[:scales], scene.amp[:scales], scene.scales[:scales]
        self.scene, self.shapes = scene, [noise.shape[1:] for noise in scene.sample_latents()]

    def forward(self, rows: Tensor) -> Tensor:
        parts = rows.split([shape.numel() for shape in self.shapes], dim=1)
        return self.scene([part.reshape(len(rows), *shape) for part, shape in zip(parts, self.shapes, strict=True)])

    def latents(self, seeds: Sequence[int]) -> Tensor:
        drawn = [self.scene.sample_latents(seed, start=0) for seed in seeds]
        return torch.stack([torch.cat([noise.flatten() for noise in each]) for each in drawn])
