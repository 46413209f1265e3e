"""One generator, and everything that is slow to compute and shared by all sessions.

A session runs the generator only under `Model.lock`, and patches are applied only inside `Model.holding(…)`, so that no
session sees the rules of another. A thread that holds a session's lock must not wait for this one. Measuring a layer
and choosing the weights of a rule lend the lock between their steps, when no run has begun and no patch is applied. The
tiles of walls do not wait for it at all: see `drawer.py`.
"""

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from apps.editor.cache import Cache
from apps.editor.drawer import Drawer, Held, checked
from apps.editor.given import Given
from apps.editor.turns import Turns
from apps.memories import cached_path, memory_of
from rewrite import Generator, Goals, Memory, Patch, Stack
from rewrite.reports.concepts import ConceptSource

MOST_LABELS = 64
MOST_MEMORIES = 6
MOST_SHARED = 64
# A goal holds the layer's input for all images of a rule: by far the largest thing in memory.
MOST_GOALS = 6
MOST_PATCHES = 12
BATCH, SMALL_BATCH = 16, 4
MOST_BYTES = 256 * 2**20
BETWEEN_REPORTS = 0.25


@dataclass
class Measurement:
    """A memory that is being measured: on so many images so far."""

    images: int = 0
    over: threading.Event = field(default_factory=threading.Event)


class Model:
    """One generator, and what all sessions share of it.

    Attributes:
        name: The name or path that it was opened by.
        generator: The generator; its weights are the base weights whenever the lock is free.
        fingerprint: The fingerprint of the base weights, also while patches are applied.
        source: The source of concepts for its images, or None.
        samples: Number of images that a memory is measured on.
        folders: Where to look for its dissections.
        lock: Held while the generator is used.
        drawer: Draws the tiles of walls, on a copy of the network.
        goals: The goals of the last rules of all sessions; used under the lock.
        patches: The patches of the last rules of all sessions: the example, and marks that come back, are solved once.
    """

    def __init__(
        self,
        name: str,
        generator: Generator,
        source: ConceptSource | None,
        samples: int,
        folders: Sequence[Path] = (),
    ):
        self.name, self.generator, self.source, self.samples, self.folders = name, generator, source, samples, folders
        self.fingerprint = generator.fingerprint
        self.lock, self._making = Turns(), threading.RLock()
        self.goals = Goals(MOST_GOALS)
        self._stack = Stack(generator)
        self.drawer = Drawer(generator)
        self._images, self._labels = Cache[Tensor](bytes=MOST_BYTES), Cache[Tensor](MOST_LABELS, MOST_BYTES)
        self._memories, self._shared = Cache[Memory](MOST_MEMORIES), Cache[Any](MOST_SHARED)
        self.patches = Cache[Patch](MOST_PATCHES, MOST_BYTES)
        self._measuring: dict[str, Measurement] = {}

    @property
    def layer(self) -> str:
        """The layer where a rule is solved by default."""
        return self.drawer.layer

    @property
    def given(self) -> Given:
        """The latents by value on the walls."""
        return self.drawer.given

    def images(self, seeds: Sequence[int]) -> Tensor:
        """Images in [-1, 1] without patches, of full size."""
        batch = BATCH if self.drawer.small else SMALL_BATCH

        def draw() -> Tensor:
            return self.generator.sample(self.given.latents(self.generator, seeds), batch).cpu()

        return self._images.get(tuple(seeds), draw, self.lock)

    def labels(self, seeds: Sequence[int]) -> Tensor:
        """The label maps of images without patches.

        Raises:
            ValueError: The model has no source of concepts.
        """
        source = self.source
        if source is None:
            raise ValueError("nothing names the pixels of this model's images")
        return self._labels.get(tuple(seeds), lambda: source.label(self.images(seeds), seeds), self.lock)

    def memory(self, layer: str, on_progress: Callable[[int], object] | None = None) -> Memory:
        """The memory of a layer, cached here and in the user's cache folder. The lock is lent while it is measured.

        Args:
            layer: Name of the layer.
            on_progress: Called with the number of images measured so far; may raise to end the measurement.
        """
        while (found := self._memories.find(layer)) is None:
            other = self._measuring.get(layer)
            if other is not None:
                self._wait_for(other, on_progress)
                continue
            with self.lock:
                if layer not in self._measuring:
                    return self._memories.get(layer, lambda: self._measured(layer, on_progress))
        return found

    def _measured(self, layer: str, on_progress: Callable[[int], object] | None) -> Memory:
        ours = self._measuring[layer] = Measurement()

        def step(images: int) -> None:
            ours.images = images
            self.lock.lend()
            if on_progress is not None:
                on_progress(images)

        try:
            return memory_of(self.generator, layer, self.samples, on_progress=step)
        finally:
            del self._measuring[layer]
            ours.over.set()

    def _wait_for(self, other: "Measurement", on_progress: Callable[[int], object] | None) -> None:
        """Wait a moment for a measurement of another thread, which goes on only if this one has not got the lock."""
        if self.lock.mine:
            self.lock.lend()
        else:
            other.over.wait(BETWEEN_REPORTS)
        if on_progress is not None:
            on_progress(other.images)

    def measured(self, layer: str) -> bool:
        """Whether the memory of a layer is there already; needs no lock.

        Raises:
            LookupError: There is no such layer.
        """
        self.generator.layer(layer)
        path = cached_path(self.generator, layer, self.samples, "patch", self.fingerprint)
        return layer in self._memories or path.is_file()

    def shared(self, key: Hashable, make: Callable[[], Any], *, runs: bool = True) -> Any:
        """Any other item that all sessions share; cached.

        Args:
            key: The key of the item.
            make: Makes the item.
            runs: Whether that runs the generator, and so needs the lock.
        """
        return self._shared.get(key, make, self.lock if runs else self._making)

    @contextmanager
    def holding(self, held: Held) -> Iterator[Generator]:
        """The generator with some patches applied, under the lock."""
        with self.lock, self._stack.holding(list(held)):
            yield self.generator

    @contextmanager
    def checking(self, check: Callable[[], None]) -> Iterator[None]:
        """Call `check` before every module that runs inside a `with` block; it may raise to end the run.

        Threads that the lock is lent to meanwhile are not checked.
        """
        with self.lock, checked(self.generator, check):
            yield
