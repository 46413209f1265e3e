"""Hard negatives: the places of the marked images that are to stay as they are."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_dilation

from rewrite.generators.layers import Layer
from rewrite.goals.keys import Keys
from rewrite.goals.scene import Scene
from rewrite.goals.wanted import Wanted
from rewrite.rules.rule import Rule

# More of them say nothing new; see `rewrite.goals.quiet`. Long keys are solved over the keys, whose number then decides
# how long that takes.
MOST, MOST_LONG, LONG = 1000, 500, 1024


def most_of(layer: Layer) -> int:
    """So many hard negatives are enough for a layer, and as many quiet places."""
    return MOST_LONG if layer.width // layer.groups // len(layer.phases()) >= LONG else MOST


def others_of(scene: Scene, rule: Rule, wanted: Sequence[Wanted]) -> Keys:
    """Every place of the context images that is neither context nor wanted, nor near to either."""
    near: dict[int, np.ndarray] = {}
    marked = [(scene.index(place.latent), scene.cells(place.mask)) for place in rule.places]
    for image, cells in [*((place.image, place.cells) for place in wanted), *marked]:
        near[image] = near.get(image, np.zeros_like(cells)) | cells
    if rule.settings.others == 0:
        near = {}
    grown = {
        image: binary_dilation(cells, np.ones((3, 3)), rule.settings.margin) if rule.settings.margin else cells
        for image, cells in near.items()
    }
    away = {image: np.logical_not(cells) for image, cells in grown.items()}
    count = sum(int(cells.sum()) for cells in away.values())
    most = most_of(scene.layer)
    if count > most:
        # The same cells on every machine, so that a rule replays: drawn from a fixed seed, evenly over the images.
        random = np.random.default_rng(0)
        away = {image: cells & (random.random(cells.shape) < most / count) for image, cells in away.items()}
    return scene.collect(list(away.items()), None, rule.settings.others)
