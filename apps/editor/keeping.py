"""What a session keeps: over another model, a reload of its page, and a new start of the server."""

import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from apps.editor.draft import Draft
from apps.editor.model import Model
from apps.editor.models import Models
from apps.editor.offers import Offers
from apps.editor.opening import Opening
from apps.editor.paintings import Paintings
from apps.editor.photographs import Photographs
from apps.editor.pictures import Pictures
from apps.editor.shelf import Shelf
from apps.editor.snapshot import Snapshot
from apps.editor.stack import Rules

MOST_LEFT = 8


class Kept:
    """The part of a session that keeps it.

    Attributes:
        shelf: Where it is kept on disk; None where it is not.
        filed: The patches, by `Entry.key`, that were saved or exported.
        paintings: The strokes on images.
        photographs: The pictures of the user's, and the strokes on them.
    """

    models: Models
    lock: threading.RLock
    draft: Draft
    rules: Rules
    offers: Offers

    def __init__(self):
        self.shelf, self.filed = None, frozenset[str]()
        self.paintings, self.photographs = Paintings(), Photographs()
        self._left, self._shelved, self._shelving = dict[str, Snapshot](), None, threading.Lock()

    def open(self, name: str, opening: Opening | None = None) -> None:
        """Open another model, with the wall, marks and rules that it had when it was left, if it was open before.

        Args:
            name: Its name.
            opening: Follows how far it is, and may end it.

        Raises:
            FileNotFoundError: The server may open no such model.
            ValueError: The file holds no generator.
        """
        model = self.models.open(name, opening)
        with self.lock:
            _, self._left, _ = self._kept()
            self._show(model)

    def _show(self, model: Model) -> None:
        self.opened += 1
        kept = self._left.pop(model.fingerprint, None)
        self._left = dict(list(self._left.items())[-MOST_LEFT:])
        self._start(Draft(model, tuple(self.draft.plain_seeds) or (0,), version=self.draft.version + 1))
        if kept is None:
            self.show_count(self.models.count(model))
            return
        self.draft, self.count = kept.shown(self.draft), len(kept.seeds)
        self.rules.restore(kept.entries)
        self.filed |= kept.filed

    def resume(self, key: Any) -> bool:
        """Go on with what a browser tab had before, in this run of the server or an earlier one.

        From here on this session is kept on disk under that key, and the one that was kept under it before is not.

        Args:
            key: What the browser tab is known by.

        Returns:
            Whether there was anything.

        Raises:
            FileNotFoundError: The server may open no such model any more.
            ValueError: It is no key; or what is kept is damaged.
        """
        shelf = Shelf(key)
        for other in list(self.models.sessions):
            if other is not self and other.shelf == shelf:
                other.leave_shelf()
        try:
            return self._resume(shelf)
        finally:
            with self.lock:
                self.shelf, self._shelved = shelf, self._kept()

    def _resume(self, shelf: Shelf) -> bool:
        name, snapshots, pictures = shelf.take()
        with self.lock:
            self._left = snapshots
            if pictures is not None:
                self.paintings, self.photographs = pictures.restored()
        if not name:
            return False
        model = self.models.open(name)
        with self.lock:
            self._show(model)
        return True

    def keep(self) -> None:
        """Keep the session on disk if it changed. A disk that is full costs what a reload would need, not the work."""
        with self._shelving:
            with self.lock:
                shelf, kept = self.shelf, self._kept()
            if shelf is not None and kept != self._shelved:
                with suppress(OSError, ValueError):
                    shelf.put(*kept)
                    self._shelved = kept

    def leave_shelf(self) -> None:
        """Stop all work and keep nothing on disk from here on: the page was loaded again."""
        self.stop()
        with self._shelving:
            self.shelf = None

    def file(self, keys: Iterable[str]) -> None:
        """Note that the patches of these keys were saved or exported."""
        with self.lock:
            self.filed |= {*keys}

    @property
    def unfiled(self) -> int:
        """The number of rules on the stack that were neither saved nor exported."""
        with self.lock:
            return sum(entry.key not in self.filed for entry in self.rules.entries)

    def _kept(self) -> tuple[str, dict[str, Snapshot], Pictures]:
        """The fingerprint of the open model, what the session has of its models (that one last), and its pictures."""
        now = Snapshot.of(replace(self.draft, seeds=self.offers.left_out(self.draft)), self.rules.entries, self.filed)
        models = {**self._left, self.model.fingerprint: now}
        return self.model.fingerprint, models, Pictures.of(self.paintings, self.photographs)
