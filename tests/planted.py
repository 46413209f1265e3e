"""Networks whose units do what is known: draw concepts, or smear."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from dissect.units.probe import Activations, Observed, Probe
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.reports.concepts import Concepts

CONCEPTS = Concepts(("sky", "tree", "tower", "window", "rare", "red", "blue"), ("object",) * 5 + ("colour",) * 2)
SIDE, GRID = 32, 16
FOUND = ("sky", "tree", "tower", "window", "rare", "tree")
SPLIT, PAIR, NOISE, FIXED = (6, 7), (8, 9), range(10, 22), 22
UNITS = 23


class PlantedProbe(Probe):
    """Six units draw a concept each, two half a concept, two one only together; the others draw none.

    Units 6 and 7 draw the left and the right half of trees; 8 and 9 towers, drowned in a noise that cancels in
    their sum; 10 to 21 are smooth noise; 22 always lights the same place.
    """

    def __init__(self, levels_from: int = 10**6):
        self.units, self.concepts, self.identity = {"planted": UNITS}, CONCEPTS, {"model": "planted"}
        self.levels_from = levels_from

    def split(self, samples: int, level_samples: int) -> tuple[Sequence[int], Sequence[int]]:
        return range(self.levels_from, self.levels_from + level_samples), range(samples)

    def activations(self, numbers: Sequence[int]) -> Activations:
        return {"planted": torch.from_numpy(np.stack([unit_maps_of(number) for number in numbers]))}

    def observe(self, numbers: Sequence[int]) -> Observed:
        labels = torch.from_numpy(np.stack([labels_of(number) for number in numbers]))
        return Observed(self.activations(numbers), torch.zeros(len(numbers), 3, SIDE, SIDE), labels)


@cache
def labels_of(number: int) -> np.ndarray:
    """Two maps: sky above, trees and towers with windows below, something rare in one image of ten; and colours."""
    random = np.random.default_rng((3, number))
    objects, colours = np.full((SIDE, SIDE), -1, np.int16), np.full((SIDE, SIDE), -1, np.int16)
    objects[: random.integers(6, 14)] = CONCEPTS.number("sky")
    for name in ("tree", "tower"):
        if random.random() < 0.6:
            left, width = random.integers(0, 26), random.integers(3, 6)
            top = random.integers(14, 22)
            objects[top : top + 8, left : left + width] = CONCEPTS.number(name)
            if name == "tower":
                objects[top + 2 : top + 4, left + 1 : left + 3] = CONCEPTS.number("window")
    if random.random() < 0.1:
        top, left = random.integers(0, 26, 2)
        objects[top : top + 4, left : left + 4] = CONCEPTS.number("rare")
    if random.random() < 0.5:
        colours[:] = CONCEPTS.number("red" if random.random() < 0.5 else "blue")
    return np.stack([objects, colours])


@cache
def unit_maps_of(number: int) -> np.ndarray:
    """What every unit does on one image."""
    random, labels = np.random.default_rng((7, number)), labels_of(number)
    step = SIDE // GRID

    def drawn(mask: np.ndarray) -> np.ndarray:
        return mask.reshape(GRID, step, GRID, step).mean(axis=(1, 3)) + 0.1 * random.standard_normal((GRID, GRID))

    maps = np.zeros((UNITS, GRID, GRID), dtype=np.float32)
    for unit, name in enumerate(FOUND):
        maps[unit] = drawn(labels[0] == CONCEPTS.number(name))
    columns = np.broadcast_to(np.arange(SIDE), (SIDE, SIDE))
    tree = labels[0] == CONCEPTS.number("tree")
    middle = columns[tree].mean() if tree.any() else 0
    maps[SPLIT[0]], maps[SPLIT[1]] = drawn(tree & (columns < middle)), drawn(tree & (columns >= middle))
    loud = 4 * random.standard_normal((GRID, GRID))
    half = drawn(labels[0] == CONCEPTS.number("tower")) / 2
    maps[PAIR[0]], maps[PAIR[1]] = half + loud, half - loud
    for unit in NOISE:
        coarse = random.standard_normal((GRID // 4, GRID // 4))
        maps[unit] = np.kron(coarse, np.ones((4, 4))) + 0.1 * random.standard_normal((GRID, GRID))
    maps[FIXED, :3] = 1 + 0.1 * random.standard_normal((3, GRID))
    return maps


SMEARING, LAYER = (2, 7, 11, 15, 20), "b16.conv1"


def smearing_generator() -> StyleGAN2Generator:
    """A random StyleGAN2 of 16x16, five of whose 24 last units fire seldom and then smear over the image."""
    torch.manual_seed(0)
    network = StyleGAN2(Design(z_dim=16, w_dim=16, mapping_layers=2, channels={4: 16, 8: 16, 16: 24}))
    with torch.no_grad():
        network.synthesis.b16.conv1.bias[list(SMEARING)] = -2.5
        network.synthesis.b16.torgb.weight[:, list(SMEARING)] *= 5
    return StyleGAN2Generator(network, noise="none")
