"""What a session keeps of one model: the wall, the marks, the choices and the rules, as values and as a document."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from apps.editor.choices import Choices
from apps.editor.draft import Draft
from apps.editor.given import number_of
from apps.editor.look import Look
from apps.editor.marks import Mark, documents, read_marks
from apps.editor.options import MOST_TILES
from apps.editor.stack import Entry
from rewrite import Latent, Patch, Region, Rule
from rewrite.rules.regions import regions_from


@dataclass(frozen=True)
class Snapshot:
    """What a session keeps of one model. It holds no generator.

    Attributes:
        name: The name that the model was opened by.
        side: Height and width of the masks.
        seeds: The images on the wall.
        marks: The brushed regions.
        further: Contexts in images that are not on the wall.
        choices: The options beside the marks.
        entries: The rules of the stack.
        filed: The patches, by `Entry.key`, that were saved or exported.
        given: The latents of files that may stand on the wall.
        look: How seeds are drawn.
        looked: The latents that stand for seeds on the wall.
    """

    name: str
    side: int
    seeds: tuple[int, ...]
    marks: tuple[Mark, ...]
    further: tuple[Region, ...]
    choices: Choices
    entries: tuple[Entry, ...]
    filed: frozenset[str] = frozenset()
    given: tuple[Latent, ...] = ()
    look: Look = field(default_factory=Look)
    looked: tuple[Latent, ...] = ()

    @classmethod
    def of(cls, draft: Draft, entries: Sequence[Entry], filed: frozenset[str]) -> "Snapshot":
        """The present state."""
        parts = draft.seeds, draft.marks, draft.further, draft.choices
        keys = frozenset(entry.key for entry in entries)
        looked = tuple(latent for latent in draft.looked if number_of(latent) in draft.seeds)
        given = tuple(latent for latent in dict.fromkeys((*draft.given, *draft.marked)) if latent not in looked)
        latents = given, draft.look, looked
        return cls(draft.model.name, draft.side, *parts, tuple(entries), filed & keys, *latents)

    def shown(self, draft: Draft) -> Draft:
        """A draft of that model with all of this but the rules."""
        parts = {"seeds": self.seeds, "marks": self.marks, "further": self.further, "choices": self.choices}
        looked = tuple(map(draft.model.given.shared, self.looked))
        return replace(draft, **parts, look=self.look, looked=looked).with_given(self.given)

    def document(self) -> dict[str, Any]:
        """All but the patches and the latents, as JSON."""
        return {
            "name": self.name,
            "side": self.side,
            "seeds": list(self.seeds),
            "marks": documents(self.marks),
            "further": [asdict(region) for region in self.further],
            "choices": asdict(self.choices),
            "rules": [
                {"key": each.key, "name": each.name, "strength": each.strength, "on": each.on, "rule": bool(each.rule)}
                for each in self.entries
            ],
            "filed": sorted(self.filed),
            "given": [number_of(latent) for latent in self.given],
            "look": asdict(self.look),
            "looked": [number_of(latent) for latent in self.looked],
        }

    @classmethod
    def read(
        cls, document: dict[str, Any], patch_of: Callable[[str], Patch], latent_of: Callable[[int], Latent]
    ) -> "Snapshot":
        """A snapshot from its document.

        Args:
            document: The document.
            patch_of: Gives the patch of a key.
            latent_of: Gives the latent of a number.

        Raises:
            KeyError, OSError, TypeError, ValueError: The document, a patch or a latent is none that this version wrote.
        """
        seeds = tuple(map(int, document["seeds"]))
        if not 1 <= len(seeds) <= MOST_TILES:
            raise ValueError(f"the wall shows 1 to {MOST_TILES} seeds, got {len(seeds)}")
        given = tuple(map(latent_of, document.get("given", [])))
        looked = tuple(map(latent_of, document.get("looked", [])))
        return cls(
            name=document["name"],
            side=document["side"],
            seeds=seeds,
            marks=read_marks(document, document["side"], (*given, *looked)),
            further=regions_from(document, "further"),
            choices=Choices(**document["choices"]),
            entries=tuple(_entry(each, patch_of(each["key"])) for each in document["rules"]),
            filed=frozenset(document["filed"]),
            given=given,
            look=Look(**document.get("look", {})),
            looked=looked,
        )


def _entry(document: dict[str, Any], patch: Patch) -> Entry:
    rule = Rule.from_json(patch.rules[0]) if document["rule"] else None
    return Entry(document["name"], patch, float(document["strength"]), document["on"] is True, rule, document["key"])
