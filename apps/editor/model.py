"""The generators of a server: opened once, shared by all sessions, worked with by one of them at a time.

The seam: `Models.open(name)` gives a `Model`; a `Model` gives everything that many sessions share and that is slow to
make: base images, runs cut before a layer, memories, the source of concepts. Patches are held only inside
`model.holding(…)`, under the lock, so that no session ever sees the rules of another.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.editor.options import Options
from apps.memories import cached_path, memory_of
from apps.sources import BUILT_IN, source_for
from dissect.concept_rule import usual_layer
from dissect.sources.contract import ConceptSource
from rewrite import Generator, Goals, Memory, Patch, Stack, load_generator
from rewrite.checkpoints import loading
from rewrite.checkpoints.registry import PUBLISHED
from rewrite.generators.contract import Cut

ENDINGS = (".safetensors", ".pt", ".pth", ".pkl")
MOST_MODELS = 2
MOST_KEPT = 12
MOST_FEATURES = 64
# A goal holds all that a rule's images read at its layer: by far the largest thing that people ask for.
MOST_GOALS = 6
BATCH = 16

Held = Sequence[tuple[Patch, float]]


class Stopped(Exception):  # noqa: N818 - it is no error
    """Somebody pressed Stop, or what was asked for is no longer wanted."""


class Kept:
    """The things that were asked for last; what is there is given at once, whoever is making another."""

    def __init__(self, most: int = MOST_KEPT):
        self.most, self._things, self._lock = most, OrderedDict(), threading.Lock()

    def __contains__(self, key: Any) -> bool:
        return key in self._things

    def of(self, key: Any, make: Callable[[], Any], making: AbstractContextManager | None = None) -> Any:
        """What was made before for this key, or is made now.

        Args:
            key: What it is kept by.
            make: Makes it.
            making: Held by whoever makes one.
        """
        found = self._found(key)
        if found is None:
            with making or nullcontext():
                found = self._found(key)
                found = make() if found is None else found
            with self._lock:
                self._things[key] = found
                while len(self._things) > self.most:
                    self._things.popitem(last=False)
        return found

    def _found(self, key: Any) -> Any:
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
            return self._things.get(key)


class Model:
    """One generator, and what its sessions share.

    Attributes:
        name: What it was opened by.
        generator: The generator; its weights are the base weights whenever the lock is free.
        fingerprint: That of the base weights, for whoever asks while another session's patches hold.
        source: What names the pixels of its images, or None.
        lock: Held by whoever works with the generator.
        goals: What the rules of all sessions want; whoever uses them holds the lock.
    """

    def __init__(self, name: str, generator: Generator, source: ConceptSource | None, samples: int):
        self.name, self.generator, self.source, self.samples = name, generator, source, samples
        self.fingerprint = generator.fingerprint
        self.lock = threading.RLock()
        self._stack = Stack(generator)
        self._images, self._cuts, self._memories, self._made = Kept(), Kept(), Kept(6), Kept(64)
        self._features, self._labels = Kept(MOST_FEATURES), Kept(MOST_FEATURES)
        self.goals = Goals(MOST_GOALS)

    @property
    def layer(self) -> str:
        """Where a rule is solved unless somebody chooses."""
        return usual_layer(self.generator)

    def images(self, seeds: Sequence[int]) -> Tensor:
        """Base images in [-1, 1]; drawn once."""
        return self._images.of(tuple(seeds), lambda: self.generator.sample(seeds, BATCH).cpu(), self.lock)

    def cut(self, layer: str, seeds: Sequence[int]) -> Cut:
        """The run of some seeds, stopped before a layer; run once."""
        return self._cuts.of((layer, tuple(seeds)), lambda: self.run(layer, seeds), self.lock)

    def features(self, layer: str, seeds: Sequence[int]) -> Tensor:
        """What a layer reads in the images of some seeds, each run once."""
        kept = [
            self._features.of((layer, seed), lambda seed=seed: self.run(layer, (seed,)).features, self.lock)
            for seed in seeds
        ]
        return torch.cat(kept).cpu()

    def labels(self, seeds: Sequence[int]) -> Tensor:
        """The label maps of the images of some seeds; named once.

        Raises:
            ValueError: The model has no source of concepts.
        """
        source = self.source
        if source is None:
            raise ValueError("nothing names the pixels of this model's images")
        return self._labels.of(tuple(seeds), lambda: source.label(self.images(seeds), seeds), self.lock)

    def memory(self, layer: str, on_progress: Callable[[int], object] | None = None) -> Memory:
        """The memory of a layer: kept in the user's cache folder, and here.

        Args:
            layer: The layer.
            on_progress: Called with the number of images read so far, where it must be measured; may raise to end that.
        """
        return self._memories.of(
            layer, lambda: memory_of(self.generator, layer, self.samples, on_progress=on_progress), self.lock
        )

    def measured(self, layer: str) -> bool:
        """Whether the memory of a layer is there already."""
        return layer in self._memories or cached_path(self.generator, layer, self.samples, "patch").is_file()

    def made(self, key: Any, make: Callable[[], Any]) -> Any:
        """Anything else that sessions share, made once."""
        return self._made.of(key, make, self.lock)

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
    def stoppable(self, stop: threading.Event) -> Iterator[None]:
        """Whatever runs the network inside a `with` block ends as soon as `stop` is set.

        Raises:
            Stopped: It was.
        """

        def check(*_: Any) -> None:
            if stop.is_set():
                raise Stopped

        with self.lock:
            hooks = [part.register_forward_pre_hook(check) for part in self.generator.module.modules()]
            try:
                yield
            finally:
                for hook in hooks:
                    hook.remove()

    @torch.no_grad()
    def run(self, layer: str, seeds: Sequence[int]) -> Cut:
        """The run of some seeds, stopped before a layer; not kept."""
        return self.generator.cut(layer, self.generator.latents(seeds))


class Models:
    """The models that a server may open: the one that it was started with, the built-in one, and those of its folders.

    Attributes:
        options: What the server was started with.
        first: The model that a new session gets.
    """

    def __init__(self, options: Options):
        self.options, self._opened, self._lock = options, Kept(MOST_MODELS), threading.Lock()
        self.first = self.open(options.model)

    def names(self) -> list[str]:
        """What the page may open: names, and files relative to their folder."""
        files = [name for folder in self.options.folders for name in checkpoints(folder)]
        return list(dict.fromkeys([self.options.model, *loading.BUILT_IN, *downloaded(), *files]))

    def open(self, name: str) -> Model:
        """Open a model, or give the open one.

        Raises:
            FileNotFoundError: There is no such file, or none that the page may open.
            ValueError: The file is no generator that this library reads.
        """
        with self._lock:
            return self._opened.of(name, lambda: self._load(name))

    def _load(self, name: str) -> Model:
        options = self.options
        path = name if name in (options.model, *loading.BUILT_IN) else self._path(name)
        generator = load_generator(path, truncation=options.truncation)
        return Model(str(path), generator, source_of(options, str(path), generator), options.samples)

    def _path(self, name: str) -> Path:
        """The file that a page names, inside one of the folders and nowhere else."""
        for folder in self.options.folders:
            root = folder.resolve()
            path = (root / name).resolve()
            if path.is_relative_to(root) and path.is_file() and path.suffix in ENDINGS:
                return path
        if name in downloaded():
            return Path(name)
        raise FileNotFoundError("this server may open no such model: it opens files of the folders given with --models")


def checkpoints(folder: Path) -> list[str]:
    """The checkpoints in a folder and below, by their paths inside it."""
    found = (path for path in sorted(folder.rglob("*")) if path.suffix in ENDINGS and path.is_file())
    return [str(path.relative_to(folder)) for path in found][:500]


def downloaded() -> list[str]:
    """The published checkpoints that lie in the user's cache already: a page makes nobody download."""
    return [name for name, published in PUBLISHED.items() if published.path.is_file()]


def source_of(options: Options, name: str, generator: Generator) -> ConceptSource | None:
    """What names the pixels: the segmenter of the built-in world only for its own generator."""
    if options.segmenter == "none" or (options.segmenter == BUILT_IN and name not in loading.BUILT_IN):
        return None
    return source_for(options.segmenter, generator)
