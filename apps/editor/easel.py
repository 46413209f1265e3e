"""The easel: a component with one large image to paint on with units.

Properties: `image` and `before` (data URLs), `name` (of an image that has no seed), `history` (a line for each stroke),
`concepts`, `first` (the concept to begin with), `most` (number of units of the layer), `can_undo`, `can_redo`, `turn`
(the last request that was carried out) and `file` (strokes for the browser to save). The event `input` brings requests
(`requests.py`); a stroke is
`{"do": "stroke", "runs": […], "concept": "tree", "action": "add", "strength": 1, "count": 15, "turn": 3}`.
"""

from typing import Any

from apps.editor.component import ScriptedComponent
from apps.editor.marks import whole
from apps.editor.requests import Request, read_requests
from dissect.causes.stroke import MOST_RUNS, Stroke
from rewrite import Mask

KNOWN = ("stroke", "remove", "undo", "redo", "clear", "save")
EMPTY = {
    "image": "",
    "before": "",
    "seed": 0,
    "name": "",
    "history": [],
    "concepts": [],
    "first": "",
    "most": 1,
    "can_undo": False,
    "can_redo": False,
    "turn": 0,
    "file": None,
}


class Easel(ScriptedComponent):
    """One image, brushes of concepts, and the list of strokes."""

    def __init__(self, *, side: int = 64, **properties: Any):
        super().__init__("easel", "easel", EMPTY, side=side, **properties)


def read_strokes(document: Any, after: int, side: int) -> list[Request]:
    """The requests of an easel's value, with the strokes; see `read_requests`.

    Args:
        document: The value that the page sent.
        after: The turn of the last request that was carried out.
        side: Height and width of the masks.
    """
    return read_requests(document, after, KNOWN, lambda do, entry: _stroke(entry, side) if do == "stroke" else None)


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
