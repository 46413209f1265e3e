"""The state of one browser session: its marks, its choices and its stack of rules. No Gradio in it.

The seam: a page's handlers call a `Session` and show what it says. `Session.model` is shared with other sessions;
everything else is this session's own, and patches are on the generator only while an image is drawn.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from apps.editor.marks import Mark, read_marks
from apps.editor.model import Kept, Models
from apps.editor.wall import mask_side
from dissect.regions import regions_of
from rewrite import Goals, Latent, Mask, Patch, Region, Rule, Settings, solve

# Of the settings tried on four and on nine marked images, the ones that drew the copy most often for the least change
# elsewhere: fewer marks than a rule from concepts has, so that they weigh more.
SETTINGS = Settings(damage=0.003, drift=0.003, others=3.0, refine=10)
ACTIONS = ("paste", "erase")
ENOUGH_CONTEXTS = 3
MOST_RULES = 16
MOST_HISTORY = 100
LONGEST_NAME = 60
STRONGEST = 2.0
MOST_RANK = 512
DAMAGES = (1e-5, 1.0)
MOST_SEEDS = 24


class Stopped(Exception):
    """Somebody pressed Stop, or what was asked for is no longer wanted."""


@dataclass(frozen=True)
class Choices:
    """What a person may choose beside the marks.

    Attributes:
        action: `paste`, or `erase`: what surrounds the marks goes in their place.
        layer: Where the rule is solved, or None for the usual layer.
        rank: Number of directions, or None for as many as the marks ask for.
        damage: The weight λ of what changes elsewhere.
        refine: Whether copied values are adjusted until the image itself shows the copy.
    """

    action: str = "paste"
    layer: str | None = None
    rank: int | None = None
    damage: float = SETTINGS.damage
    refine: bool = True

    def __post_init__(self):
        if self.action not in ACTIONS:
            raise ValueError(f"the action is one of {', '.join(ACTIONS)}")
        if self.rank is not None and not 1 <= self.rank <= MOST_RANK:
            raise ValueError(f"the rank lies between 1 and {MOST_RANK}, got {self.rank}")
        if not DAMAGES[0] <= self.damage <= DAMAGES[1]:
            raise ValueError(f"the weight of damage lies between {DAMAGES[0]} and {DAMAGES[1]:g}, got {self.damage}")

    @property
    def settings(self) -> Settings:
        """The settings of a rule."""
        return replace(SETTINGS, damage=self.damage, rank=self.rank, refine=SETTINGS.refine if self.refine else 0)


@dataclass(frozen=True)
class Entry:
    """One rule of the stack, with its answer.

    Attributes:
        name: What its owner calls it.
        patch: The answer.
        strength: The factor on the patch.
        on: Whether it counts.
        rule: The rule, or None for a patch that answers none.
    """

    name: str
    patch: Patch
    strength: float = 1.0
    on: bool = True
    rule: Rule | None = None


class Session:
    """What one browser session knows.

    Attributes:
        models: The models of the server.
        model: The one that this session looks at.
        seeds: The images on its wall.
        marks: What is brushed.
        choices: What is chosen beside that.
        stack: The rules, in the order in which they came.
        version: Counts the changes of marks and choices, so that work for older ones can end early.
    """

    def __init__(self, models: Models):
        self.models, self.model = models, models.first
        self.seeds = tuple(range(models.options.tiles))
        self._forget()

    def __deepcopy__(self, memo: dict) -> "Session":
        """Gradio copies the state that a page begins with: each browser session begins anew."""
        return Session(self.models)

    def _forget(self) -> None:
        self.marks: tuple[Mark, ...] = ()
        self.more: tuple[Region, ...] = ()
        self.choices = Choices()
        self.stack: tuple[Entry, ...] = ()
        self.version = 0
        self._past: list[tuple[Entry, ...]] = []
        self._future: list[tuple[Entry, ...]] = []
        self._moving: tuple[Entry, ...] | None = None
        self._goals, self._patches, self._stop = Goals(), Kept(24), threading.Event()

    # The model and the wall -------------------------------------------------------------------------------------------

    @property
    def side(self) -> int:
        """Height and width of the masks."""
        return mask_side(self.model.generator.size)

    @property
    def layer(self) -> str:
        """Where the next rule is solved."""
        return self.choices.layer or self.model.layer

    def open(self, name: str) -> None:
        """Look at another model; marks and rules belong to the one before and go with it.

        Raises:
            FileNotFoundError: The server may open no such model.
            ValueError: It is no generator.
        """
        self.model = self.models.open(name)
        self._forget()

    def look_at(self, seeds: Sequence[int]) -> None:
        """Put other images on the wall; marks on images that are no longer there stay.

        Raises:
            ValueError: There are none, or too many.
        """
        if not 1 <= len(seeds) <= MOST_SEEDS:
            raise ValueError(f"the wall shows 1 to {MOST_SEEDS} seeds, got {len(seeds)}")
        self.seeds = tuple(dict.fromkeys(seeds))

    def before(self) -> Tensor:
        """The images of the wall as the model draws them."""
        return self.model.images(self.seeds)

    def after(self, first: int | None = None) -> Tensor:
        """The images of the wall with the rules that are on, or only the first of them."""
        return self.model.edited(self.held, self.seeds[:first])

    # Marks and the rule that they make --------------------------------------------------------------------------------

    def mark(self, document: Any) -> None:
        """Take the marks of the page.

        Raises:
            ValueError: They are not what a wall sends.
        """
        marks = read_marks(document, self.side)
        if marks != self.marks:
            self.marks, self.version = marks, self.version + 1

    def choose(self, **changes: Any) -> None:
        """Change choices.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: A choice is out of range.
        """
        if changes.get("layer") is not None:
            self.model.generator.layer(changes["layer"])
        choices = replace(self.choices, **changes)
        if choices != self.choices:
            self.choices, self.version = choices, self.version + 1

    def regions(self, role: str) -> tuple[Region, ...]:
        """What is marked in a role: every connected part is a region of its own."""
        return tuple(
            Region(Latent(mark.seed), Mask.from_array(part))
            for mark in self.marks
            if mark.role == role
            for part in regions_of(mark.region.mask.array())
        )

    @property
    def missing(self) -> str:
        """What must still be marked before there is a rule; nothing if it is complete."""
        roles = {mark.role for mark in self.marks}
        if self.choices.action == "paste" and "copy" not in roles:
            return "Brush what you want more of: choose Copy and brush over it in one image."
        if not roles & {"paste", "context"}:
            if self.choices.action == "erase":
                return "Brush what shall go: choose Context and brush over it in a few images."
            return "Brush where it shall go: choose Paste and brush over that place in another image."
        return ""

    @property
    def advice(self) -> str:
        """What would make a complete rule better; nothing if nothing would."""
        places = len(self.regions("paste")) + len(self.regions("context"))
        if places <= ENOUGH_CONTEXTS:
            return f"Better with {ENOUGH_CONTEXTS} or more contexts: brush the same kind of place in other images."
        return ""

    def rule(self) -> Rule:
        """The rule that marks and choices make.

        Raises:
            ValueError: Something is still missing.
        """
        if self.missing:
            raise ValueError(self.missing)
        copy, paste, context = self.regions("copy"), self.regions("paste"), self.regions("context")
        erase = self.choices.action == "erase"
        return Rule(
            name=f"rule {len(self.stack) + 1}",
            model=self.model.generator.fingerprint,
            layer=self.layer,
            copy=() if erase else copy,
            paste=paste[0] if paste else None,
            context=(*paste[1:], *context, *self.more),
            action=self.choices.action,
            anchor="centre",
            protect=self.regions("protect"),
            truncation=self.model.generator.truncation,
            settings=self.choices.settings,
        )

    # Solving ----------------------------------------------------------------------------------------------------------

    def answer(self, rule: Rule) -> Patch:
        """The patch of a rule: solved before, or now.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: The rule was written on another model, or cannot be solved.
        """
        return self._patches.of(self._key(rule), lambda: self._solve(rule))

    def answered(self, rule: Rule) -> bool:
        """Whether the patch of a rule is there already."""
        return self._key(rule) in self._patches

    def _key(self, rule: Rule) -> str:
        return replace(rule, name="").to_json()

    def _solve(self, rule: Rule) -> Patch:
        memory = self.model.memory(rule.layer)
        with self.model.lock:
            return solve(self.model.generator, memory, rule, goals=self._goals)

    # The stack --------------------------------------------------------------------------------------------------------

    @property
    def held(self) -> list[tuple[Patch, float]]:
        """The patches that are on, with their strengths."""
        return [(entry.patch, entry.strength) for entry in self.stack if entry.on]

    def rewrite(self) -> Entry:
        """Solve the rule of the marks and put it on the stack.

        Raises:
            ValueError: Something is missing, or the rule cannot be solved.
        """
        rule = self.rule()
        return self.add(Entry(rule.name, replace(self.answer(rule), rules=(rule.to_json(),)), rule=rule))

    def load(self, rule: Rule) -> Entry:
        """Solve a rule from a file as it is, and put it on the stack.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: It was written on another model, or cannot be solved.
        """
        return self.add(Entry(rule.name[:LONGEST_NAME], self.answer(rule), rule=rule))

    def add(self, entry: Entry) -> Entry:
        """Put an answer on the stack.

        Raises:
            ValueError: The stack is full.
        """
        if len(self.stack) >= MOST_RULES:
            raise ValueError(f"at most {MOST_RULES} rules stand on one another: delete one first")
        self._change((*self.stack, entry))
        return entry

    def switch(self, index: int, on: bool) -> None:
        """Let a rule count, or not."""
        self._change(self._with(index, on=on))

    def strengthen(self, index: int, strength: float, *, keep: bool = True) -> None:
        """Give a rule another strength.

        Args:
            index: Which rule.
            strength: The factor on its patch, 0 to 2.
            keep: Whether it is a step that undo takes back; a slider that still moves makes none.

        Raises:
            ValueError: There is no such rule, or the strength is out of range.
        """
        if not 0 <= strength <= STRONGEST:
            raise ValueError(f"strength lies between 0 and {STRONGEST:g}, got {strength}")
        stack = self._with(index, strength=float(strength))
        if keep:
            self._change(stack)
        else:
            self._moving = self._moving or self.stack
            self.stack = stack

    def rename(self, index: int, name: str) -> None:
        """Call a rule something else.

        Raises:
            ValueError: There is no such rule, or the name is empty or too long.
        """
        name = " ".join(name.split())
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise ValueError(f"a name has 1 to {LONGEST_NAME} characters")
        self._change(self._with(index, name=name))

    def move(self, index: int, to: int) -> None:
        """Give a rule another place; the images do not hang on the order."""
        entry = self._entry(index)
        rest = [each for each in self.stack if each is not entry]
        rest.insert(max(0, min(to, len(rest))), entry)
        self._change(tuple(rest))

    def delete(self, index: int) -> None:
        """Take a rule off the stack."""
        entry = self._entry(index)
        self._change(tuple(each for each in self.stack if each is not entry))

    def undo(self) -> None:
        """Take the last change of the stack back; nothing where there is none."""
        if self._past:
            self._future.append(self.stack)
            self.stack = self._past.pop()

    def redo(self) -> None:
        """Make the change again that was taken back last; nothing where there is none."""
        if self._future:
            self._past.append(self.stack)
            self.stack = self._future.pop()

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to make again."""
        return bool(self._future)

    def _entry(self, index: int) -> Entry:
        if not 0 <= index < len(self.stack):
            raise ValueError(f"there is no rule {index + 1} on the stack of {len(self.stack)}")
        return self.stack[index]

    def _with(self, index: int, **changes: Any) -> tuple[Entry, ...]:
        entry = self._entry(index)
        return tuple(replace(each, **changes) if each is entry else each for each in self.stack)

    def _change(self, stack: tuple[Entry, ...]) -> None:
        before, self._moving = self._moving or self.stack, None
        if stack != before:
            self._past = [*self._past, before][-MOST_HISTORY:]
            self._future = []
        self.stack = stack
