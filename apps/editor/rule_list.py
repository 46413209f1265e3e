"""The stack of rules as a component: on and off, strength, name, order, save, delete, undo, redo.

Properties: `rules` (one for each row), `can_undo`, `can_redo`, `unsaved` (how many were neither saved nor exported: the
page asks before it is left), and `file` (a rule for the browser to save). The event `input` brings requests
(`requests.py`).
"""

import re
import secrets
import sys
from collections.abc import Sequence
from typing import Any

from apps.editor.component import ScriptedComponent
from apps.editor.requests import Request, read_requests
from apps.editor.stack import Entry
from rewrite import Rule

# The type of `to` for each request about one rule.
KINDS = {"switch": bool, "strength": float, "rename": str, "move": int, "delete": None, "save": None, "marks": None}
LARGEST = sys.float_info.max
KNOWN = (*KINDS, "undo", "redo")
EMPTY = {"rules": [], "can_undo": False, "can_redo": False, "unsaved": 0, "file": None}


class RuleList(ScriptedComponent):
    """The rules of a session."""

    def __init__(self, **properties: Any):
        super().__init__("rule_list", "rules", EMPTY, **properties)


def rows(stack: Sequence[Entry]) -> list[dict[str, Any]]:
    """The rows of the list."""
    return [
        {
            "name": entry.name,
            "on": entry.on,
            "strength": entry.strength,
            "about": f"{entry.patch.layer}, {entry.patch.rank} directions",
            "rule": entry.rule is not None,
        }
        for entry in stack
    ]


def rule_file(rule: Rule) -> dict[str, str]:
    """A rule as a file for the browser to save."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", rule.name).strip("-")[:40] or "rule"
    return {"name": f"{name}.json", "text": rule.to_json(), "turn": secrets.token_hex(8)}


def read_rule_requests(document: Any, after: int) -> list[Request]:
    """Read the requests of a list; see `read_requests`."""
    return read_requests(document, after, KNOWN, _to)


def _to(do: str, entry: dict) -> Any:
    to, kind = entry.get("to"), KINDS.get(do)
    # Before its size is asked for, a number is compared: a whole one may be too large to become a float.
    if kind is float and (isinstance(to, bool) or not isinstance(to, int | float) or not -LARGEST <= to <= LARGEST):
        raise ValueError("a strength is a finite number")
    if kind in (bool, str, int) and (not isinstance(to, kind) or (kind is int and isinstance(to, bool))):
        raise ValueError(f"what to {do} a rule to is of another kind: {type(to).__name__}")
    return to
