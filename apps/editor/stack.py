"""The stack of rules of one session: on or off, strength, order and names, with undo and redo."""

import secrets
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from rewrite import Patch, Rule

MOST_RULES = 16
MOST_HISTORY = 100
LONGEST_NAME = 60
STRONGEST = 2.0


@dataclass(frozen=True)
class Entry:
    """One rule of the stack, with its patch.

    Attributes:
        name: The name that the user gave it.
        patch: Its patch.
        strength: The factor on the patch.
        on: Whether the patch is applied.
        rule: The rule; None for a patch without one, such as units that are off.
        key: What its patch is known by: 16 digits, drawn anew for each patch.
    """

    name: str
    patch: Patch = field(compare=False)
    strength: float = 1.0
    on: bool = True
    rule: Rule | None = field(default=None, compare=False)
    key: str = field(default_factory=lambda: secrets.token_hex(8))

    def saved(self) -> Rule:
        """The rule under the name that the entry has now.

        Raises:
            ValueError: The entry has no rule.
        """
        if self.rule is None:
            raise ValueError(f"{self.name} has no rule that could be saved")
        return replace(self.rule, name=self.name)


class Rules:
    """The rules of a session. Each change makes a new tuple of entries; undo restores the one before.

    Attributes:
        entries: The rules in the order of the list, which does not affect the images.
        lock: Held while they change.
    """

    def __init__(self, lock: AbstractContextManager | None = None):
        self.entries: tuple[Entry, ...] = ()
        self.lock = lock or threading.RLock()
        self._past: list[tuple[Entry, ...]] = []
        self._future: list[tuple[Entry, ...]] = []
        self._moving: tuple[Entry, ...] | None = None

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def held(self) -> list[tuple[Patch, float]]:
        """The patches that are on, with their strengths."""
        return [(entry.patch, entry.strength) for entry in self.entries if entry.on]

    @property
    def active(self) -> tuple[Entry, ...]:
        """The rules that are on and have a strength."""
        return tuple(entry for entry in self.entries if entry.on and entry.strength)

    def add(self, entry: Entry) -> Entry:
        """Put a rule on the stack.

        Raises:
            ValueError: The stack is full.
        """
        with self.lock:
            self.check_room()
            self._change((*self.entries, entry))
        return entry

    def place(self, entry: Entry) -> Entry:
        """Put a rule in the place of the one with the same marks, whose name and strength it keeps, or on the stack.

        Raises:
            ValueError: The stack is full.
        """
        with self.lock:
            old = None if entry.rule is None else self.alike(entry.rule)
            if old is None:
                return self.add(entry)
            entry = replace(entry, name=old.name, strength=old.strength)
            self._change(tuple(entry if each is old else each for each in self.entries))
        return entry

    def alike(self, rule: Rule) -> Entry | None:
        """The last entry whose rule has the same marks as another; None if there is none."""
        found = [each for each in self.entries if each.rule is not None and marked(each.rule) == marked(rule)]
        return found[-1] if found else None

    def check_room(self, rule: Rule | None = None) -> None:
        """Refuse a rule for which there is no place, before anything is solved.

        Raises:
            ValueError: The stack is full, and the rule would replace none.
        """
        if len(self.entries) >= MOST_RULES and (rule is None or self.alike(rule) is None):
            raise ValueError(f"at most {MOST_RULES} rules stand on one another: delete one first")

    def restore(self, entries: Sequence[Entry]) -> None:
        """Put the rules of an earlier session there; that is no change to undo."""
        with self.lock:
            self.entries = tuple(entries)[:MOST_RULES]

    def switch(self, index: int, on: bool) -> None:
        """Switch a rule on or off."""
        self._set(index, on=on)

    def strengthen(self, index: int, strength: float, *, keep: bool = True) -> None:
        """Change the strength of a rule.

        Args:
            index: Which rule.
            strength: The factor on its patch, 0 to 2.
            keep: Whether it is a step of its own for undo; false while a slider moves.

        Raises:
            ValueError: There is no such rule, or the strength is out of range.
        """
        if not 0 <= strength <= STRONGEST:
            raise ValueError(f"strength lies between 0 and {STRONGEST:g}, got {strength}")
        self._set(index, keep=keep, strength=float(strength))

    def rename(self, index: int, name: str) -> None:
        """Rename a rule.

        Raises:
            ValueError: There is no such rule, or the name is empty or too long.
        """
        name = " ".join(name.split())
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise ValueError(f"a name has 1 to {LONGEST_NAME} characters")
        self._set(index, name=name)

    def move(self, index: int, to: int) -> None:
        """Move a rule in the list; the order does not affect the images."""
        with self.lock:
            entry, rest = self.entry(index), self._without(index)
            to = max(0, min(to, len(rest)))
            self._change((*rest[:to], entry, *rest[to:]))

    def delete(self, index: int) -> None:
        """Delete a rule."""
        with self.lock:
            self._change(self._without(index))

    def undo(self) -> None:
        """Undo the last change, if there is one."""
        with self.lock:
            self._moving = None
            if self._past:
                self._future.append(self.entries)
                self.entries = self._past.pop()

    def redo(self) -> None:
        """Redo the change that was undone last, if there is one."""
        with self.lock:
            if self._future:
                self._past.append(self.entries)
                self.entries = self._future.pop()

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to redo."""
        return bool(self._future)

    def entry(self, index: int) -> Entry:
        """One rule.

        Raises:
            ValueError: There is no such rule.
        """
        entries = self.entries
        if not 0 <= index < len(entries):
            raise ValueError(f"there is no rule {index + 1} on the stack of {len(entries)}")
        return entries[index]

    def _without(self, index: int) -> tuple[Entry, ...]:
        entry = self.entry(index)
        return tuple(each for each in self.entries if each is not entry)

    def _set(self, index: int, *, keep: bool = True, **changes: Any) -> None:
        with self.lock:
            entry = self.entry(index)
            stack = tuple(replace(each, **changes) if each is entry else each for each in self.entries)
            if keep:
                self._change(stack)
            else:
                self._moving = self._moving or self.entries
                self.entries = stack

    def _change(self, stack: tuple[Entry, ...]) -> None:
        before, self._moving = self._moving or self.entries, None
        if stack != before:
            self._past = [*self._past, before][-MOST_HISTORY:]
            self._future = []
        self.entries = stack


def marked(rule: Rule) -> tuple:
    """What a rule marks, and what is to be done there."""
    return rule.action, frozenset(rule.copy), frozenset(rule.places), frozenset(rule.protect)
