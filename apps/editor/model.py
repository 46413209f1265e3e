"""One generator, and everything that many sessions share and that is slow to make.

A session works with the generator only under `Model.lock`, and patches are on it only inside `Model.holding(…)`, so
that no session sees the rules of another. Who holds a session's lock must not wait for this one.
"""

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.editor.cache import Cache
from apps.memories import cached_path, memory_of
from dissect.concept_rule import usual_layer
from rewrite import Generator, Goals, Memory, Patch, Stack
from rewrite.generators.contract import Cut
from rewrite.reports.concepts import ConceptSource

MOST_FEATURES = 64
MOST_MEMORIES = 6
MOST_SHARED = 64
# A goal holds all that a rule's images read at its layer: by far the largest thing that people ask for.
MOST_GOALS = 6
BATCH = 16

Held = Sequence[tuple[Patch, float]]


class Model:
    """One generator, and what its sessions share.

    Attributes:
        name: What it was opened by.
        generator: The generator; its weights are the base weights whenever the lock is free.
        fingerprint: That of the base weights, also while the patches of a session are on the generator.
        source: What names the pixels of its images, or None.
        samples: Images that a memory is measured on.
        folders: Where dissections of it may lie.
        lock: Held by whoever works with the generator.
        goals: What the rules of all sessions want; whoever uses them holds the lock.
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
        self.lock, self._making = threading.RLock(), threading.RLock()
        self.goals = Goals(MOST_GOALS)
        self._stack = Stack(generator)
        self._images, self._cuts = Cache[Tensor](), Cache[Cut]()
        self._features, self._labels = Cache[Tensor](MOST_FEATURES), Cache[Tensor](MOST_FEATURES)
        self._memories, self._shared = Cache[Memory](MOST_MEMORIES), Cache[Any](MOST_SHARED)

    @property
    def layer(self) -> str:
        """Where a rule is solved unless somebody chooses."""
        return usual_layer(self.generator)

    def images(self, seeds: Sequence[int]) -> Tensor:
        """Base images in [-1, 1]; drawn once."""
        return self._images.get(tuple(seeds), lambda: self.generator.sample(seeds, BATCH).cpu(), self.lock)

    def cut(self, layer: str, seeds: Sequence[int]) -> Cut:
        """The run of some seeds, stopped before a layer; run once."""
        return self._cuts.get((layer, tuple(seeds)), lambda: self.run(layer, seeds), self.lock)

    def features(self, layer: str, seeds: Sequence[int]) -> Tensor:
        """What a layer reads in the images of some seeds, each run once."""
        kept = [
            self._features.get((layer, seed), lambda seed=seed: self.run(layer, (seed,)).features, self.lock)
            for seed in seeds
        ]
        return torch.cat(kept).cpu()

    def labels(self, seeds: Sequence[int]) -> Tensor:
        """The label maps of the images of some seeds; computed once.

        Raises:
            ValueError: The model has no source of concepts.
        """
        source = self.source
        if source is None:
            raise ValueError("nothing names the pixels of this model's images")
        return self._labels.get(tuple(seeds), lambda: source.label(self.images(seeds), seeds), self.lock)

    def memory(self, layer: str, on_progress: Callable[[int], object] | None = None) -> Memory:
        """The memory of a layer: kept in the user's cache folder, and here.

        Args:
            layer: The layer.
            on_progress: Called with the number of images read so far, where it must be measured; may raise to end that.
        """
        return self._memories.get(
            layer, lambda: memory_of(self.generator, layer, self.samples, on_progress=on_progress), self.lock
        )

    def measured(self, layer: str) -> bool:
        """Whether the memory of a layer is there already; answers while others work with the generator.

        Raises:
            LookupError: There is no such layer.
        """
        self.generator.layer(layer)
        path = cached_path(self.generator, layer, self.samples, "patch", self.fingerprint)
        return layer in self._memories or path.is_file()

    def shared(self, key: Hashable, make: Callable[[], Any], *, runs: bool = True) -> Any:
        """Anything else that sessions share, made once.

        Args:
            key: What it is kept by.
            make: Makes it.
            runs: Whether that runs the generator. What does not is made while others work with the generator.
        """
        return self._shared.get(key, make, self.lock if runs else self._making)

    @contextmanager
    def holding(self, held: Held) -> Iterator[Generator]:
        """The generator with some patches at their strengths, for one session at a time."""
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
        """Call `check` before every module of the network that runs inside a `with` block; may raise to end the run."""

        def hook(*_: Any) -> None:
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
        """The run of some seeds, stopped before a layer; not kept."""
        return self.generator.cut(layer, self.generator.latents(seeds))
