"""The models that a server may open: the one it was started with, the built-in one, and those in its folders."""

import threading
from pathlib import Path
from typing import Any
from weakref import WeakSet

from apps.editor.cache import Cache
from apps.editor.model import Model
from apps.editor.opening import READ, Opening
from apps.editor.options import Options
from apps.editor.shelf import tidy
from apps.sources import BUILT_IN, source_for
from rewrite import Generator, load_generator
from rewrite.checkpoints import loading
from rewrite.checkpoints.registry import PUBLISHED
from rewrite.reports.concepts import ConceptSource
from rewrite.storage.files import is_temporary

ENDINGS = (".safetensors", ".pt", ".pth", ".pkl")
MOST_MODELS = 2
MOST_FILES = 500


class Models:
    """The models that a server may open, each opened once for all sessions.

    Attributes:
        options: What the server was started with.
        first: The model of a new session.
    """

    def __init__(self, options: Options):
        tidy()
        self.options, self._opened, self._lock = options, Cache[Model](MOST_MODELS), threading.Lock()
        self.first = self.open(options.model)
        # The sessions of all pages; they know how to stop.
        self.sessions: WeakSet[Any] = WeakSet()

    def names(self) -> list[str]:
        """The names that the page may open; files are relative to their folder."""
        files = [name for folder in self.options.folders for name in checkpoints(folder)]
        return list(dict.fromkeys([self.options.model, *loading.BUILT_IN, *downloaded(), *files]))

    def open(self, name: str, opening: Opening | None = None) -> Model:
        """Open a model; one that is open already is shared.

        Args:
            name: One of `names`.
            opening: Follows how far it is, and may end it; nothing is open then.

        Raises:
            FileNotFoundError: There is no such file, or none that the page may open.
            ValueError: The file is no generator that this library reads.
        """
        return self._opened.get(name, lambda: self._load(name, opening or Opening()), self._lock)

    def _load(self, name: str, opening: Opening) -> Model:
        options = self.options
        path = name if name in (options.model, *loading.BUILT_IN) else self._path(name)
        generator = load_generator(path, truncation=options.truncation, device=options.device)
        if generator.classes:
            generator.draw_class(options.label)
        opening.step("Looking at its weights", READ)
        source = source_of(options, str(path), generator)
        model = Model(str(path), generator, source, options.samples, options.folders)
        opening.first_image(model.drawer)
        return model

    def stop(self) -> None:
        """Stop the work of all sessions, and wait for the tiles that are being drawn: the server ends."""
        for session in list(self.sessions):
            session.stop()
        for model in self._opened.items():
            with model.drawer.lock:
                pass

    def count(self, model: Model) -> int:
        """The number of images on the wall of a model."""
        return self.options.tiles or model.drawer.count()

    def _path(self, name: str) -> Path:
        """The file that a page names; it must lie inside one of the folders."""
        for folder in self.options.folders:
            root = folder.resolve()
            path = (root / name).resolve()
            if path.is_relative_to(root) and path.is_file() and path.suffix in ENDINGS:
                return path
        if name in downloaded():
            return Path(name)
        raise FileNotFoundError("this server may open no such model: it opens files of the folders given with --models")


def checkpoints(folder: Path) -> list[str]:
    """The checkpoints in a folder and its subfolders, as relative paths."""
    found = (
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in ENDINGS and path.is_file() and not is_temporary(path)
    )
    return [str(path.relative_to(folder)) for path in found][:MOST_FILES]


def downloaded() -> list[str]:
    """The published checkpoints that are in the user's cache already; a page cannot start downloads."""
    return [name for name, published in PUBLISHED.items() if published.path.is_file()]


def source_of(options: Options, name: str, generator: Generator) -> ConceptSource | None:
    """The source of concepts of a model; the built-in segmenter is used for the built-in generators only."""
    if options.segmenter == "none" or (options.segmenter == BUILT_IN and name not in loading.BUILT_IN):
        return None
    return source_for(options.segmenter, generator)
