"""A generator that draws concepts by known causes: what the effects of units must find, and what they must not."""

from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from dissect.sources.contract import checked
from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer
from rewrite.reports.concepts import Concepts, ConceptSource

SIDE, GRID = 32, 16
CAUSES = Concepts.of(("ground", "tree", "door", "window"))
TREE, BOTH, EITHER, CORRELATE, CAUSAL_UNITS = 0, (1, 2), (3, 4), 5, 12


class PlantedGenerator(Generator):
    """Known causes: a tree by one unit, a door by two that act only together, a window by either of two.

    Another unit lights wherever a tree stands, better than the cause itself, and does nothing; so do the rest. No door
    can be drawn over a tree.
    """

    def __init__(self):
        self.module = nn.ModuleDict(
            {"units": nn.Conv2d(CAUSAL_UNITS, CAUSAL_UNITS, 1, bias=False), "colours": nn.Conv2d(3, 3, 1, bias=False)}
        ).requires_grad_(False)
        for layer in self.module.values():
            layer.weight.copy_(torch.eye(len(layer.weight))[:, :, None, None])
        self.z_dim, self.size = 4, (SIDE, SIDE)
        grid = (GRID, GRID)
        self.layers = {
            "units": Layer("units", "units.weight", "convolution", CAUSAL_UNITS, CAUSAL_UNITS, grid),
            "colours": Layer("colours", "colours.weight", "convolution", 3, 3, grid),
        }

    def images(self, latents):
        return self.rerun("units", self.cut("units", latents))

    def cut(self, layer, latents):
        maps = torch.from_numpy(np.stack([causal_maps_of(seed) for seed in latents.seeds]))
        return Cut(None, maps if layer == "units" else self._paint(self.module["units"](maps)))

    def finish(self, layer, cut, written, demodulation):
        return written

    def onward(self, layer, cut, output):
        colours = self.module["colours"](self._paint(output)) if layer == "units" else output
        return F.interpolate(2 * colours - 1, scale_factor=2, mode="nearest")

    def _paint(self, units):
        tree = F.max_pool2d(units[:, TREE], 3, stride=1, padding=1)
        door = torch.minimum(units[:, BOTH[0]], units[:, BOTH[1]]) * (1 - tree.clamp(0, 1))
        window = torch.maximum(units[:, EITHER[0]], units[:, EITHER[1]])
        return torch.stack([tree, door, window], dim=1).clamp(0, 1)


class ColourSource(ConceptSource):
    """Names what a planted generator draws: each concept has a colour of its own."""

    concepts, identity = CAUSES, "colours"

    def label(self, images, numbers):
        return checked(self.logits(images).argmax(dim=1), len(images), self.concepts)

    def logits(self, images):
        return 6 * torch.cat([torch.zeros_like(images[:, :1]), images], dim=1)


@cache
def causal_maps_of(seed: int) -> np.ndarray:
    """What every unit of a planted generator does on one image: a tree, a door and a window, each in 3 of 4 images."""
    random = np.random.default_rng((11, seed))
    maps = 0.1 * np.abs(random.standard_normal((CAUSAL_UNITS, GRID, GRID))).astype(np.float32)
    places = {name: (random.integers(1, 10), random.random() < 0.75) for name in CAUSES.names[1:]}
    for name, (column, units) in {"tree": (1, (TREE,)), "door": (7, BOTH), "window": (12, EITHER)}.items():
        row, there = places[name]
        for unit in units if there else ():
            maps[unit, row : row + 4, column : column + 3] = 0.9 + 0.1 * random.random()
        if there and name == "tree":
            maps[CORRELATE, row - 1 : row + 5, column - 1 : column + 4] = 1 - 0.1 * random.random((6, 5))
    return maps
