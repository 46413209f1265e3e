"""The easel: a component of one large image that people paint on with units.

The seam: to the page go `image` and `before` (data URLs), `history` (a line for each stroke), `concepts`, `most` (units
of the layer), `can_undo`, `can_redo`, `turn` (the last wish that was done) and `file` (strokes that the browser is to
save). From the page comes its value, the last wishes, by the event `input`: `{"wishes": [{"do": "stroke", "runs": […],
"concept": "tree", "action": "add", "strength": 1, "count": 15, "turn": 3}, …]}`, read by `read_wishes` as the untrusted
document that it is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from apps.editor.marks import whole
from dissect.causes.painting import MOST_RUNS, Stroke
from rewrite import Mask

HERE = Path(__file__).parent
STYLE = (HERE / "easel.css").read_text(encoding="utf-8")
SCRIPT = (HERE / "easel.js").read_text(encoding="utf-8")
WISHES = ("stroke", "remove", "undo", "redo", "clear", "save")
MOST_WISHES = 20
LATEST = 2**31
EMPTY = {
    "image": "",
    "before": "",
    "seed": 0,
    "history": [],
    "concepts": [],
    "most": 1,
    "can_undo": False,
    "can_redo": False,
    "turn": 0,
    "file": None,
}


@dataclass(frozen=True)
class Wish:
    """What a person asked of the easel.

    Attributes:
        do: One of `WISHES`.
        turn: Counts the wishes of a page.
        index: Which stroke to remove.
        stroke: What was brushed.
    """

    do: str
    turn: int
    index: int = 0
    stroke: Stroke | None = None


class Easel(gr.HTML):
    """One image, brushes of concepts, and the list of strokes."""

    def __init__(self, *, side: int = 64, **more: Any):
        """Put an easel on the page.

        Args:
            side: Height and width of the masks.
            more: See above; and what any component takes.
        """
        super().__init__(
            value=more.pop("value", None),
            html_template='<div class="easel" data-ready="0"></div>',
            css_template=STYLE,
            js_on_load=SCRIPT,
            apply_default_css=False,
            side=side,
            **{**EMPTY, **more},
        )

    def preprocess(self, payload: Any) -> Any:
        """The document as it came: `read_wishes` checks it."""
        return payload

    def postprocess(self, value: Any) -> Any:
        """A document, not HTML."""
        return value

    def api_info(self) -> dict[str, Any]:
        """What programs send."""
        return {"type": "object", "description": "strokes"}


def read_wishes(document: Any, after: int, side: int) -> list[Wish]:
    """The wishes of an easel's value that were not done yet, in their order.

    Args:
        document: What the page sent.
        after: The turn of the last wish that was done.
        side: Height and width of the masks.

    Raises:
        ValueError: It is not what an easel sends; the message says what is wrong.
    """
    entries = document.get("wishes") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MOST_WISHES:
        raise ValueError(f"the easel sends at most {MOST_WISHES} wishes, as a list")
    new = [entry for entry in entries if _turn(entry) > after]
    return sorted((_wish(entry, side) for entry in new), key=lambda wish: wish.turn)


def _turn(entry: Any) -> int:
    turn = entry.get("turn") if isinstance(entry, dict) else None
    if not whole(turn) or not 0 < turn <= LATEST:
        raise ValueError("a wish of the easel is an object with a number")
    return turn


def _wish(entry: dict, side: int) -> Wish:
    do, index = entry.get("do"), entry.get("index", 0)
    if not isinstance(do, str) or do not in WISHES:
        raise ValueError(f"the easel asks for one of {', '.join(WISHES)}")
    if not whole(index):
        raise ValueError("a stroke is named by its number")
    return Wish(do, entry["turn"], index, _stroke(entry, side) if do == "stroke" else None)


def _stroke(entry: dict, side: int) -> Stroke:
    runs, concept, action = entry.get("runs"), entry.get("concept"), entry.get("action")
    strength, count, alone = entry.get("strength"), entry.get("count"), entry.get("alone")
    if not isinstance(runs, list) or len(runs) > MOST_RUNS:
        raise ValueError(f"a stroke has at most {MOST_RUNS} runs, as a list")
    if not all(isinstance(run, list) and len(run) == 2 and whole(run[0]) and whole(run[1]) for run in runs):
        raise ValueError("a run must be two whole numbers")
    if not (isinstance(concept, str) and isinstance(action, str) and whole(count)):
        raise ValueError("a stroke names a concept, an action and a number of units")
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 < strength <= 1:
        raise ValueError("the strength of a stroke is more than 0 and at most 1")
    mask = Mask((side, side), tuple((run[0], run[1]) for run in runs))
    return Stroke(mask, concept, action=action, strength=float(strength), count=count, alone=alone is not False)
