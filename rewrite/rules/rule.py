"""What the user asks for: an edit document that replays."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rewrite.generators.classes import Label
from rewrite.rules import documents
from rewrite.rules.documents import document_in, loaded
from rewrite.rules.entries import number, only, require, shown, typed
from rewrite.rules.regions import Region, region_from, regions_from
from rewrite.rules.settings import CHOSEN, EXACT, Settings, settings_from
from rewrite.storage import files

SCHEMA = documents.OF_GENERATOR
ACTIONS = ("paste", "erase")
CONTEXT_USES = ("goal", "direction")
ANCHORS = ("centre", "bottom")
FITS = ("none", "box")
EXPECTATIONS = ("efficacy", "outside", "strict", "protected")
MOST_REGIONS = 10_000
LARGEST_FILE = 64 * 2**20
# Settings that rules of before do not have: those that leave them as usual are written as they were then.
LATER = ("reach", "descent", "still")
# A JSON string holds no line break, so this finds only real lists.
NUMBERS = re.compile(r"\[\n\s+[-+.\de]+(?:,\n\s+[-+.\de]+)*\n\s+\]")


@dataclass(frozen=True)
class Rule:
    """A change of one rule of a generator, by regions of its own images.

    Attributes:
        name: The rule's name.
        model: Fingerprint of the generator that the rule was written on.
        layer: The layer whose weight is to change.
        copy: Regions that show what is wanted. With several, each place takes the one whose position within a
            cell fits best.
        paste: Where it is wanted.
        context: Other places where the rule is to fire.
        context_use: `goal`: every context is one more place where the copy is wanted. `direction`: contexts only
            say when the rule fires (the 2020 paper).
        action: `paste`, or `erase`: the layer is to write what surrounds the region instead.
        anchor: Which point of the copy meets which point of the place: their centres, or the middles of their
            lower borders.
        protect: Regions whose values must stay.
        protect_units: Units of the layer whose values must stay everywhere: numbers of its output channels.
        label: The class that its images are drawn of, of a generator of several, or those of seeds; None for all in
            turn, by the seeds.
        effect: Concepts that the rule turns into another, for reports with a segmenter: `from` a list, `to` a name.
        expect: What a report is held against: least `efficacy`, and greatest change `outside` (the lenient count),
            `strict` (the strict count) and `protected` (of the colours of protected regions).

    Raises:
        ValueError: A number or word is out of range, or the rule has no copy or no place.
    """

    name: str
    model: str
    layer: str
    paste: Region | None = None
    copy: tuple[Region, ...] = ()
    context: tuple[Region, ...] = ()
    context_use: str = "goal"
    action: str = "paste"
    anchor: str = "centre"
    fit: str = "box"
    protect: tuple[Region, ...] = ()
    protect_units: tuple[int, ...] = ()
    truncation: float = 1.0
    label: Label = 0
    settings: Settings = field(default_factory=lambda: Settings.from_marks())
    effect: Mapping[str, Any] = field(default_factory=dict)
    expect: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.action in ACTIONS, f"action is one of {', '.join(ACTIONS)}", self.action)
        require(self.context_use in CONTEXT_USES, f"context_use is one of {', '.join(CONTEXT_USES)}", self.context_use)
        require(self.fit in FITS, f"fit is one of {', '.join(FITS)}", self.fit)
        require(self.anchor in ANCHORS, f"anchor is one of {', '.join(ANCHORS)}", self.anchor)
        if self.action == "paste":
            require(bool(self.copy), "a rule that pastes needs a copy", None)
        require(self.paste is not None or bool(self.context), "a rule needs a place: paste or context", None)
        if self.context_use == "direction":
            require(self.paste is not None, "contexts that only steer need one paste", None)
        require(not isinstance(self.label, int) or self.label >= 0, "classes count from 0", self.label)
        require(0 <= self.truncation <= 2, "truncation lies between 0 and 2", self.truncation)
        require(all(unit >= 0 for unit in self.protect_units), "units count from 0", min(self.protect_units, default=0))
        for name, value in self.expect.items():
            require(math.isfinite(value), f"the expected {name} is a finite number", value)
        nowhere = "protected" in self.expect and not self.protect
        require(not nowhere, "an expected protected change needs protected regions", None)
        regions = len(self.copy) + len(self.context) + len(self.protect)
        require(regions <= MOST_REGIONS, f"a rule has at most {MOST_REGIONS} regions", regions)

    def __repr__(self) -> str:
        regions = f"copy={len(self.copy)}, places={len(self.places)}, protect={len(self.protect)}"
        return f"<Rule {shown(self.name)} on {self.layer}: action={self.action}, {regions}, model={self.model}>"

    @property
    def places(self) -> tuple[Region, ...]:
        """Everywhere the rule is to fire."""
        return (() if self.paste is None else (self.paste,)) + self.context

    @property
    def goal_places(self) -> tuple[Region, ...]:
        """Where the copy is wanted by the solver: everywhere, or at the paste alone if contexts only steer."""
        return self.places if self.context_use == "goal" or self.paste is None else (self.paste,)

    def with_settings(self, **changes: Any) -> "Rule":
        """The same rule with other solver settings.

        A weight that is given is not chosen by the marks any more, and a finish or a descent that they would have
        judged is left out, unless it is given too.
        """
        chosen = self.settings.weights == "marks" and not changes.keys().isdisjoint(CHOSEN)
        given = {"weights": "given", "finish": 0, "descent": 0} if chosen else {}
        return replace(self, settings=replace(self.settings, **given | changes))

    def with_contexts(self, further: Iterable[Region]) -> "Rule":
        """The same rule with further contexts, such as the regions of proposals that were accepted."""
        return replace(self, context=tuple(dict.fromkeys((*self.context, *further))))

    def to_json(self) -> str:
        """The rule as a JSON document; equal rules give equal text."""
        document = {"schema": SCHEMA, **asdict(self)}
        if self.label == 0:
            del document["label"]  # which most generators know nothing of
        for region in (*document["copy"], document["paste"] or {}, *document["context"], *document["protect"]):
            if region and region["latent"]["w"] is None:
                del region["latent"]["w"]  # likewise
        if self.settings.protect == math.inf:
            document["settings"]["protect"] = EXACT  # JSON has no infinity
        for name in LATER:
            if getattr(self.settings, name) == getattr(Settings, name):
                del document["settings"][name]
        text = json.dumps(document, indent=1, sort_keys=True, default=list, allow_nan=False)
        # Runs of a mask and numbers of a latent stand on one line each, not on one line for each number.
        return NUMBERS.sub(lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), text) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the rule as a JSON file.

        Raises:
            ValueError: The file cannot be written.
        """
        files.write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "Rule":
        """Read a rule file.

        Returns:
            The rule; saved again, it gives an equal document.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not a valid rule; the message says what is wrong.
        """
        return loaded(path, cls.from_json, called="a rule file", wrong="is not a valid rule", most=LARGEST_FILE)

    @classmethod
    def from_json(cls, text: str) -> "Rule":
        """Read a rule from a JSON document.

        Returns:
            The rule.

        Raises:
            ValueError: It is not a valid rule; the message says what is wrong.
        """
        return _rule(document_in(text, SCHEMA))


def _rule(document: dict) -> Rule:
    known = {entry.name for entry in fields(Rule)} | {"schema"}
    only(document, known, "rule")
    given = document.get("settings")
    settings = Settings.from_marks() if given is None else settings_from(typed(given, dict, "settings"))
    expect = typed(document.get("expect", {}), dict, "expect")
    only(expect, set(EXPECTATIONS), "expect")
    for measure, share in expect.items():
        fits = not math.isfinite(number(share, measure)) or 0 <= share <= 1
        require(fits, f"the expected {measure} is a share between 0 and 1", share)
    paste = document.get("paste")
    return Rule(
        name=typed(document.get("name"), str, "name"),
        model=typed(document.get("model"), str, "model"),
        layer=typed(document.get("layer"), str, "layer"),
        paste=None if paste is None else region_from(paste, "paste"),
        copy=regions_from(document, "copy"),
        context=regions_from(document, "context"),
        protect=regions_from(document, "protect"),
        protect_units=_units(document),
        context_use=typed(document.get("context_use", "goal"), str, "context_use"),
        action=typed(document.get("action", "paste"), str, "action"),
        anchor=typed(document.get("anchor", "centre"), str, "anchor"),
        fit=typed(document.get("fit", "none"), str, "fit"),
        truncation=number(document.get("truncation", 1.0), "truncation"),
        label=label_from(document.get("label", 0)),
        settings=settings,
        effect=_effect(typed(document.get("effect", {}), dict, "effect")),
        expect={name: number(value, name) for name, value in expect.items()},
    )


def label_from(document: Any) -> Label:
    """A class as a document has it.

    Raises:
        ValueError: It is none.
    """
    return None if document is None else typed(document, str if isinstance(document, str) else int, "label")


def _effect(document: dict) -> dict:
    only(document, {"from", "to"}, "effect")
    replaced = [typed(name, str, "effect.from") for name in typed(document.get("from", []), list, "effect.from")]
    target = document.get("to")
    require(target is None or target not in replaced, "a rule turns concepts into another one", target)
    return {"from": replaced, "to": None if target is None else typed(target, str, "effect.to")} if document else {}


def _units(document: dict) -> tuple[int, ...]:
    units = typed(document.get("protect_units", []), list, "protect_units")
    return tuple(typed(unit, int, "a unit of protect_units") for unit in units)
