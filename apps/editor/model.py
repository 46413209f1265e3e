"""One generator, and everything that is slow to compute and shared by all sessions.

A session runs the generator only under `Model.lock`, and patches are applied only inside `Model.holding(…)`, so that no
session sees the rules of another. A thread that holds a session's lock must not wait for this one. The choice of the
weights of a rule lends the lock between its steps, when no run has begun and no patch is applied.
"""

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.editor.cache import Cache
from apps.editor.turns import Turns
from apps.memories import cached_path, memory_of
from dissect.concept_rule import usual_layer
from rewrite import Generator, Goals, Memory, Patch, Stack
from rewrite.generators.contract import Cut
from rewrite.reports.concepts import ConceptSource

MOST_FEATURES = 64
MOST_MEMORIES = 6
MOST_SHARED = 64
# A goal holds the layer's input for all images of a rule: by far the largest thing in memory.
MOST_GOALS = 6
BATCH = 16

Held = Sequence[tuple[Patch, float]]


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
        goals: The goals of the last rules of all sessions; used under the lock.
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
        self._images, self._cuts = Cache[Tensor](), Cache[Cut]()
        self._features, self._labels = Cache[Tensor](MOST_FEATURES), Cache[Tensor](MOST_FEATURES)
        self._memories, self._shared = Cache[Memory](MOST_MEMORIES), Cache[Any](MOST_SHARED)

    @property
    def layer(self) -> str:
        """The layer where a rule is solved by default."""
        return usual_layer(self.generator)

    def images(self, seeds: Sequence[int]) -> Tensor:
        """Images in [-1, 1] without patches."""
        return self._images.get(tuple(seeds), lambda: self.generator.sample(seeds, BATCH).cpu(), self.lock)

    def cut(self, layer: str, seeds: Sequence[int]) -> Cut:
        """A run stopped before a layer; cached."""
        return self._cuts.get((layer, tuple(seeds)), lambda: self.run(layer, seeds), self.lock)

    def features(self, layer: str, seeds: Sequence[int]) -> Tensor:
        """The input of a layer for some seeds; cached for each seed."""
        kept = [
            self._features.get((layer, seed), lambda seed=seed: self.run(layer, (seed,)).features, self.lock)
            for seed in seeds
        ]
        return torch.cat(kept).cpu()

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
        """The memory of a layer, cached here and in the user's cache folder.

        Args:
            layer: Name of the layer.
            on_progress: Called with the number of images measured so far; may raise to end the measurement.
        """
        return self._memories.get(
            layer, lambda: memory_of(self.generator, layer, self.samples, on_progress=on_progress), self.lock
        )

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

    def edited(self, held: Held, seeds: Sequence[int]) -> Tensor:
        """Images in [-1, 1] with patches; only the layers from the first edited one on are run."""
        held = [(patch, strength) for patch, strength in held if strength]
        if not held:
            return self.images(seeds)
        order = list(self.generator.layers)
        first = min((patch.layer for patch, _ in held), key=order.index)
        with self.lock, torch.no_grad():
            cut = self.cut(first, seeds)
            with self.holding(held):
                return self.generator.rerun(first, cut).clamp(-1, 1).cpu()

    @contextmanager
    def checking(self, check: Callable[[], None]) -> Iterator[None]:
        """Call `check` before every module that runs inside a `with` block; it may raise to end the run.

        Threads that the lock is lent to meanwhile are not checked.
        """
        thread = threading.get_ident()

        def hook(*_: Any) -> None:
            if threading.get_ident() == thread:
                check()

        with self.lock:
            hooks = [part.register_forward_pre_hook(hook) for part in self.generator.module.modules()]
            try:
                yield
            finally:
                for each in hooks:
                    each.remove()

    @torch.no_grad()
    def run(self, layer: str, seeds: Sequence[int]) -> Cut:
        """A run stopped before a layer."""
        return self.generator.cut(layer, self.generator.latents(seeds))
