"""One drawing of a wall: what is there already, what it is going to look like, then tile by tile."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.editor.data_urls import urls
from apps.editor.drawer import Drawer, Held, Tile

# The URL of a picture that stays as it is on the page.
LEFT = ""
# Seeds of tiles with the patches that they are drawn with, in the order in which they are wanted.
Items = Sequence[tuple[int, Held]]


@dataclass(eq=False)
class Drawing:
    """A wall that is being drawn.

    Attributes:
        drawer: Draws it.
        seeds: The tiles.
        held: The active patches with their strengths; with patches, each tile is drawn with and without them.
        names: What the tiles are called.
        before, after: What is shown without and with them, as URLs by seed.
        missing: What is not drawn yet.
        seconds: How long one takes.
    """

    drawer: Drawer
    seeds: Sequence[int]
    held: Held
    names: Sequence[str]
    before: dict[int, str] = field(default_factory=dict)
    after: dict[int, str] = field(default_factory=dict)
    missing: Items = ()
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._show(self.drawer.known(self.seeds), ())
        if self.held:
            self._show(self.drawer.known(self.seeds, self.held), self.held)
        wanted = [(seed, held) for held in ([self.held, ()] if self.held else [()]) for seed in self.seeds]
        self.missing = [(seed, held) for seed, held in wanted if seed not in self._shown(held)]
        self.seconds = self.drawer.seconds

    def at_once(self) -> "Drawing":
        """The same, all drawn now if that takes no time to speak of."""
        if self.missing and self.drawer.quick(len(self.seeds)):
            for held in {bool(held): held for _, held in self.missing}.values():
                self._show(dict(zip(self.seeds, self.drawer.tiles(self.seeds, held), strict=True)), held)
            self.missing = ()
        return self

    def steps(self, check: Callable[[], None]) -> Iterator[None]:
        """Draw what is missing; yields whenever there is something new to show.

        Args:
            check: Called often; raises to end the drawing.
        """
        yield
        for seed, held in self.missing:
            with self.drawer.checking(check):
                tile = self.drawer.early(seed, held)
            if tile is not None:
                self._show({seed: tile}, held)
                yield
        while self.missing:
            (seed, held), *rest = self.missing
            begun = time.monotonic()
            with self.drawer.checking(check):
                # Others that draw have their turn after every tile.
                self.drawer.lock.lend()
                tile = self.drawer.tiles((seed,), held)[0]
            self.seconds = time.monotonic() - begun
            self._show({seed: tile}, held)
            self.missing = rest
            yield

    def tiles(self) -> list[dict[str, Any]]:
        """The property `tiles` of a wall."""
        named = zip(self.seeds, self.names, strict=True)
        return [{"seed": seed, "name": name, "image": self.before.get(seed, LEFT)} for seed, name in named]

    def edited(self) -> dict[str, Any]:
        """The properties of a wall for everything but `tiles`."""
        rough = [seed for seed, held in self.missing if bool(held) == bool(self.held)]
        after = [self.after.get(seed, LEFT) for seed in self.seeds] if self.held else []
        return {"after": after, "rough": rough, "drawing": self.progress}

    @property
    def progress(self) -> str:
        """How far it is and how long it takes, as a sentence; empty if all is drawn."""
        if not self.missing:
            return ""
        count = len(self.seeds) * (2 if self.held else 1)
        left = lasting(self.seconds * len(self.missing))
        return f"{count - len(self.missing)} of {count} images are drawn, {left} left. You can go on meanwhile."

    def _shown(self, held: Held) -> dict[int, str]:
        return self.after if held else self.before

    def _show(self, found: dict[int, Tile], held: Held) -> None:
        self._shown(held).update({seed: urls(tile[None])[0] for seed, tile in found.items()})


def lasting(seconds: float) -> str:
    """A time as people say it."""
    return f"about {max(1, round(seconds))} s" if seconds < 90 else f"about {round(seconds / 60)} min"
