"""The tiles of walls, drawn on a copy of the network, so that no wall waits for long work on the other.

A small network draws a whole wall in one run. A large one draws tile by tile: what a tile is, as far as a low side
shows it, comes first (`Drawer.early`), and takes a small part of the time. Tiles are kept at the size of the page.
"""

import copy
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from apps.editor.cache import Cache
from apps.editor.given import Given
from apps.editor.turns import Turns
from dissect.concept_rule import usual_layer
from rewrite import Generator, Patch, Stack
from rewrite.generators.batches import batched
from rewrite.generators.cut import Cut

LARGEST_TILE = 256
EARLY_SIDE = 64
BATCH = 16
MOST_KEPT, MOST_BYTES = 4096, 384 * 2**20
# Multiplications for an image, up to which a whole wall takes no noticeable time on any computer.
LITTLE_WORK = 5e8
# Seconds that a wall may take before it is drawn tile by tile, and that one run of several tiles may take.
AT_ONCE, A_RUN = 1.0, 0.5
PATIENCE = 20.0
COUNTS = (4, 6, 8, 12, 16, 24)
USUAL_COUNT = 16

Held = Sequence[tuple[Patch, float]]
Tile = Float[Tensor, "3 height width"]


class Drawer:
    """Draws tiles.

    Attributes:
        generator: A copy of the model's generator; its weights are the base weights whenever the lock is free.
        lock: Held while it is used.
        given: The latents by value on the walls.
        layer: Runs are kept at this layer: it is where rules are solved by default.
        small: Whether an image takes next to no time.
        seconds: How long an image took that was drawn last.
    """

    def __init__(self, generator: Generator):
        self.generator, self.lock, self.given = copy.deepcopy(generator), Turns(), Given()
        self.layer, self.small, self.seconds = usual_layer(generator), work_of(generator) <= LITTLE_WORK, math.inf
        self._stack = Stack(self.generator)
        self._kept, self._preparing = Cache[Any](MOST_KEPT, MOST_BYTES), threading.RLock()

    def quick(self, count: int) -> bool:
        """Whether so many tiles are drawn at once, so that nothing need be shown meanwhile."""
        return self.small or self.seconds * count <= AT_ONCE

    def count(self) -> int:
        """The number of tiles that are drawn without a long wait."""
        if self.quick(USUAL_COUNT):
            return USUAL_COUNT
        short = [count for count in COUNTS if count <= USUAL_COUNT and count * self.seconds <= PATIENCE]
        return max(short, default=COUNTS[0])

    def tiles(self, seeds: Sequence[int], held: Held = ()) -> Float[Tensor, "images 3 height width"]:
        """Images in [-1, 1] at the size of a tile, with patches."""
        held = active(held)
        found = self.known(seeds, held)
        if len(found) < len(set(seeds)):
            with self.lock:
                found = self.known(seeds, held)
                for part in batched([seed for seed in dict.fromkeys(seeds) if seed not in found], self.together):
                    found |= self._drawn(part, held)
        return torch.stack([found[seed] for seed in seeds])

    def known(self, seeds: Sequence[int], held: Held = ()) -> dict[int, Tile]:
        """The tiles that are drawn already, by seed."""
        key = key_of(held)
        kept = {seed: self._kept.find(("tile", seed, key)) for seed in seeds}
        return {seed: tile[0] for seed, tile in kept.items() if tile is not None}

    def early(self, seed: int, held: Held = ()) -> Tile | None:
        """What a tile is going to look like, from a low side of the network; None if it cannot tell.

        With patches, it is the tile without them, if that is known, and the change at the low side.
        """
        held = active(held)
        plain = self._early(self.layer, seed, ())
        if not held:
            return None if plain is None else enlarged(plain, self.side)
        first = self.first_of(held)
        edited, plain = self._early(first, seed, held), self._early(first, seed, ())
        if edited is None or plain is None:
            return None
        known = self.known((seed,)).get(seed)
        if known is None:
            return enlarged(edited, self.side)
        return (known + enlarged(edited - plain, self.side)).clamp(-1, 1)

    def at_hand(self, seeds: Sequence[int], held: Held = ()) -> Float[Tensor, "images 3 height width"]:
        """Tiles, or what they are going to look like where they are not drawn and that takes time."""
        if self.quick(len(seeds)):
            return self.tiles(seeds, held)
        known, grey = self.known(seeds, active(held)), torch.zeros(3, *self.side)
        found = [known[seed] if seed in known else self.early(seed, held) for seed in seeds]
        return torch.stack([grey if tile is None else tile for tile in found])

    def cut(self, layer: str, seeds: Sequence[int]) -> Cut:
        """A run stopped before a layer; cached."""
        return self._kept.get(("cut", layer, tuple(seeds)), lambda: self.run(layer, seeds), self.lock)

    @torch.no_grad()
    def run(self, layer: str, seeds: Sequence[int]) -> Cut:
        """A run stopped before a layer."""
        with self.lock:
            return self.generator.cut(layer, self.given.latents(self.generator, seeds))

    def prepared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What takes several runs, between which tiles are drawn; made once, for all sessions."""
        return self._kept.get(key, make, self._preparing)

    def features(self, layer: str, seeds: Sequence[int]) -> Tensor:
        """The input of a layer for some seeds; cached for each seed."""
        return torch.cat([self.cut(layer, (seed,)).features for seed in seeds]).cpu()

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of a tile."""
        height, width = self.generator.size
        return min(height, LARGEST_TILE), min(width, LARGEST_TILE)

    def reduced(self, images: Float[Tensor, "images 3 height width"]) -> Tensor:
        """Images at the size of a tile."""
        return images if images.shape[2:] == self.side else F.interpolate(images, self.side, mode="area")

    def first_of(self, held: Held) -> str:
        """The first layer that patches change."""
        order = list(self.generator.layers)
        return min((patch.layer for patch, _ in held), key=order.index)

    @contextmanager
    def checking(self, check: Callable[[], None]) -> Iterator[None]:
        """End runs inside a `with` block, under the lock, by what `check` raises."""
        with self.lock, checked(self.generator, check):
            yield

    @property
    def together(self) -> int:
        """The number of tiles that are drawn in one run."""
        return BATCH if self.small else max(1, min(BATCH, int(A_RUN / self.seconds)))

    @torch.no_grad()
    def _drawn(self, seeds: Sequence[int], held: Held) -> dict[int, Tile]:
        begun, key = time.monotonic(), key_of(held)
        if held:
            first = self.first_of(held)
            cut = self.cut(first, seeds)
            with self._stack.holding(held):
                images = self.generator.rerun(first, cut)
        elif self.small:
            images = self.generator.images(self.given.latents(self.generator, seeds))
        else:
            images = self.generator.rerun(self.layer, self.cut(self.layer, seeds))
        found = dict(zip(seeds, self.reduced(images.float().clamp(-1, 1)).cpu(), strict=True))
        if not held:
            self.seconds = (time.monotonic() - begun) / len(seeds)
        if not held or not self.small:
            for seed, tile in found.items():
                # With the patches, so that no others get their place in memory, which names them in the key.
                self._kept.keep(("tile", seed, key), (tile, held))
        return found

    def _early(self, layer: str, seed: int, held: Held) -> Tensor | None:
        return self._kept.get(
            ("early", layer, seed, key_of(held)), lambda: (self._early_image(layer, seed, held), held), self.lock
        )[0]

    @torch.no_grad()
    def _early_image(self, layer: str, seed: int, held: Held) -> Tensor | None:
        cut = self.cut(layer, (seed,))
        with self._stack.holding(held):
            image = self.generator.early_image(layer, cut, EARLY_SIDE)
        return None if image is None else image[0].float().cpu()


def work_of(generator: Generator) -> float:
    """About how many multiplications an image takes."""
    layers = generator.layers.items()
    return float(sum(generator.weight(name).numel() * math.prod(layer.output_grid) for name, layer in layers))


def active(held: Held) -> Held:
    """The patches that have a strength."""
    return [(patch, strength) for patch, strength in held if strength]


def key_of(held: Held) -> tuple[tuple[int, float], ...]:
    """What tells patches and strengths from others, as long as these patches are in memory."""
    return tuple((id(patch), strength) for patch, strength in held)


def enlarged(image: Tile, side: tuple[int, int]) -> Tile:
    """A small image at the size of a tile, in [-1, 1] if it is one."""
    return F.interpolate(image[None], side, mode="bilinear", antialias=False)[0]


@contextmanager
def checked(generator: Generator, check: Callable[[], None]) -> Iterator[None]:
    """Call `check` before every module that this thread runs inside a `with` block; it may raise to end the run."""
    thread = threading.get_ident()

    def hook(*_: Any) -> None:
        if threading.get_ident() == thread:
            check()

    hooks = [part.register_forward_pre_hook(hook) for part in generator.module.modules()]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()
