"""What a session keeps beside its rules: the strokes on images, and the pictures of the user's with theirs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apps.editor.paintings import MOST_PAINTINGS, Paintings
from apps.editor.photographs import Photographs
from dissect.causes.painting import Painting
from dissect.photographs.photograph import Photograph
from rewrite.rules.entries import typed

MOST_CHARACTERS = 8 * 2**20


@dataclass(frozen=True)
class Pictures:
    """Paintings and photographs of one moment; steps that were taken back are not among them.

    Attributes:
        seed, layer, edited: What the easel of the tab Paint shows; see `Paintings`.
        paintings: The paintings there, the latest last.
        photographs: The photographs, each with the key that its file is known by.
        strokes: The paintings on photographs.
        with_rules, adapted: How photographs are drawn; see `Photographs`.
    """

    seed: int
    layer: str
    edited: bool
    paintings: tuple[Painting, ...]
    photographs: tuple[tuple[str, Photograph], ...]
    strokes: tuple[Painting, ...]
    with_rules: bool = True
    adapted: bool = True

    @classmethod
    def of(cls, paintings: Paintings, photographs: Photographs) -> "Pictures":
        """The present state."""
        strokes = tuple(each for each in paintings.paintings.values() if each.strokes)
        return cls(
            paintings.seed,
            paintings.layer,
            paintings.edited,
            strokes,
            tuple((photographs.keys[model], found) for model, found in photographs.found.items()),
            tuple(photographs.paintings.values()),
            photographs.edited,
            photographs.adapted,
        )

    def restored(self) -> tuple[Paintings, Photographs]:
        """The state as a session that begins has it."""
        paintings = Paintings(self.seed, self.layer, self.edited)
        paintings.restore(self.paintings)
        photographs = Photographs(edited=self.with_rules, adapted=self.adapted)
        for key, found in self.photographs:
            photographs.keep(found, {}, key)
        photographs.paintings = {(each.model, each.layer): each for each in self.strokes}
        return paintings, photographs

    def document(self) -> dict[str, Any]:
        """All but the photographs themselves, as JSON; the oldest paintings are left out where it grows too long."""
        texts = [painting.to_json() for painting in self.paintings]
        while sum(map(len, texts)) > MOST_CHARACTERS:
            del texts[0]
        strokes = [painting.to_json() for painting in self.strokes]
        return {
            "seed": self.seed,
            "layer": self.layer,
            "edited": self.edited,
            "paintings": texts,
            "photographs": [key for key, _ in self.photographs],
            "strokes": strokes if sum(map(len, strokes)) <= MOST_CHARACTERS else [],
            "with_rules": self.with_rules,
            "adapted": self.adapted,
        }

    @classmethod
    def read(cls, document: dict[str, Any], photograph_of: Callable[[str], Photograph]) -> "Pictures":
        """Those of a document.

        Args:
            document: The document.
            photograph_of: Gives the photograph of a key.

        Raises:
            KeyError, OSError, TypeError, ValueError: The document or a photograph is none that this version wrote.
        """
        return cls(
            typed(document["seed"], int, "seed"),
            typed(document["layer"], str, "layer"),
            document["edited"] is True,
            tuple(map(Painting.from_json, document["paintings"][-MOST_PAINTINGS:])),
            tuple((key, photograph_of(key)) for key in document["photographs"]),
            tuple(map(Painting.from_json, document["strokes"])),
            document["with_rules"] is True,
            document["adapted"] is True,
        )
