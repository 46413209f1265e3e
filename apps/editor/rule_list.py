"""The stack of rules as a component: on and off, strength, name, order, save, delete, undo, redo.

The seam: to the page go `rules` (what each row shows), `can_undo` and `can_redo` (whether there is something to take
back), and `file` (a rule that the browser is to save). From the page comes its value, the last
wishes, by the event `input`: `{"wishes": [{"do": "strength", "index": 0, "to": 0.7, "live": true, "turn": 12}, …]}`,
read by `read_wishes` as the untrusted document that it is.
"""

import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from apps.editor.marks import whole
from apps.editor.stack import Entry
from rewrite import Rule

HERE = Path(__file__).parent
STYLE = (HERE / "rule_list.css").read_text(encoding="utf-8")
SCRIPT = (HERE / "rule_list.js").read_text(encoding="utf-8")
ON_ONE = {"switch": bool, "strength": float, "rename": str, "move": int, "delete": None, "save": None, "marks": None}
WISHES = (*ON_ONE, "undo", "redo")
MOST_WISHES = 20
LATEST = 2**31


@dataclass(frozen=True)
class Wish:
    """What a person asked of the stack.

    Attributes:
        do: One of `WISHES`.
        index: Of which rule.
        to: The new state, strength, name or place.
        live: Whether the slider still moves.
        turn: Counts the wishes of a page.
    """

    do: str
    index: int = 0
    to: Any = None
    live: bool = False
    turn: int = 1


class RuleList(gr.HTML):
    """The rules of a session, the first of them at the top."""

    def __init__(self, *, rules: Sequence[dict] = (), can_undo: bool = False, can_redo: bool = False, **more: Any):
        """Put a list on the page.

        Args:
            rules: What the rows show.
            can_undo: Whether there is something to take back.
            can_redo: Whether there is something to make again.
            more: What any component takes.
        """
        super().__init__(
            value=more.pop("value", None),
            html_template='<div class="rules"></div>',
            css_template=STYLE,
            js_on_load=SCRIPT,
            apply_default_css=False,
            rules=list(rules),
            can_undo=can_undo,
            can_redo=can_redo,
            **{"file": None, **more},
        )

    def preprocess(self, payload: Any) -> Any:
        """The document as it came: `read_wishes` checks it."""
        return payload

    def postprocess(self, value: Any) -> Any:
        """A document, not HTML."""
        return value

    def api_info(self) -> dict[str, Any]:
        """What programs send."""
        return {"type": "object", "description": "a wish for the stack of rules"}


def rows(stack: Sequence[Entry]) -> list[dict[str, Any]]:
    """What the list shows of a stack."""
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


def saved(rule: Rule) -> dict[str, str]:
    """A rule as the file that the browser saves."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", rule.name).strip("-")[:40] or "rule"
    return {"name": f"{name}.json", "text": rule.to_json(), "turn": secrets.token_hex(8)}


def read_wishes(document: Any, after: int) -> list[Wish]:
    """The wishes of a list's value that were not done yet, in their order.

    Args:
        document: What the page sent.
        after: The turn of the last wish that was done.

    Raises:
        ValueError: It is not what a list sends; the message says what is wrong.
    """
    entries = document.get("wishes") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MOST_WISHES:
        raise ValueError(f"the list of rules sends at most {MOST_WISHES} wishes, as a list")
    wishes = [_wish(entry) for entry in entries]
    return sorted((wish for wish in wishes if wish.turn > after), key=lambda wish: wish.turn)


def _wish(entry: Any) -> Wish:
    do = entry.get("do") if isinstance(entry, dict) else None
    if not isinstance(do, str) or do not in WISHES:
        raise ValueError(f"the list of rules asks for one of {', '.join(WISHES)}")
    index, turn, to = entry.get("index", 0), entry.get("turn", 1), entry.get("to")
    if not (whole(index) and whole(turn) and turn <= LATEST):
        raise ValueError("a rule is named by its number, and so is a wish")
    kind = ON_ONE.get(do)
    if kind is float and (isinstance(to, bool) or not isinstance(to, int | float) or not math.isfinite(to)):
        raise ValueError("a strength is a finite number")
    if kind in (bool, str, int) and (not isinstance(to, kind) or (kind is int and isinstance(to, bool))):
        raise ValueError(f"what to {do} a rule to is of another kind: {type(to).__name__}")
    return Wish(do, index, to, entry.get("live") is True, turn)
