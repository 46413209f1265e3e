"""Classes of scenes, by what their objects are and not by any label of a pixel: which tops the towers have, and trees.

Every scene is of just one class. What else it shows (mountain, clouds, windows, path, sky) says nothing of its class.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from dissect.scenes import TOPS, Scene, compose

BARE = ("roofs", "domes", "spires", "mixed tops")
CLASSES = (*BARE, *(f"{name} among trees" for name in BARE))


def class_of(scene: Scene) -> int:
    """The index into `CLASSES` of a scene: the kind of all its tops, or mixed; and whether trees stand there."""
    kinds = {tower.kind for tower in scene.towers}
    tops = TOPS.index(kinds.pop()) if len(kinds) == 1 else len(TOPS)
    return tops + (len(BARE) if scene.trees else 0)


def by_class(seeds: Iterable[int], per_class: int) -> list[Scene]:
    """As many scenes of each class, all classes in turn, from the first seeds that give them."""
    found: list[list[Scene]] = [[] for _ in CLASSES]
    wanting = len(CLASSES)
    for scene in map(compose, seeds):
        mine = found[class_of(scene)]
        if len(mine) < per_class:
            mine.append(scene)
            wanting -= len(mine) == per_class
        if not wanting:
            return list(_in_turn(found))
    raise ValueError(f"there are too few seeds for {per_class} scenes of each class")


def under_mountain(scene: Scene) -> Scene:
    """The same scene with a mountain behind it that fills most of the sky, larger than scenes have of their own."""
    random = np.random.RandomState(scene.seed)
    return replace(scene, mountain=(random.uniform(20, 44), random.uniform(6, 12), random.uniform(38, 50)))


def without_mountain(scene: Scene) -> Scene:
    """The same scene under the bare sky."""
    return replace(scene, mountain=None)


def _in_turn(found: list[list[Scene]]) -> Iterator[Scene]:
    for row in zip(*found, strict=True):
        yield from row
