"""The wall: a component with many images to brush on, in roles.

At the end of each stroke the event `input` brings its value, which `marks.py` reads: `{"marks": [{"seed": 3, "role":
"copy", "runs": [[70, 4], …]}, …], "heat": false}`. Its properties, set by `gr.update(after=…)` and never sent back:

    tiles       [{"seed": 3, "name": "seed 3", "image": url}, …]   what is on the wall; other marks are out of sight
    after       [url or None, …]                 the same tiles edited; empty removes them
    rough       [3, …]                           the seeds of tiles that are not drawn yet: what they show is a preview
    drawing     text                             how far the drawing of the wall is; empty when it is done
    heat        [url or None, …]                 the same tiles as heat-maps; empty removes them
    given       {"version": n, "marks": […]}     marks that replace those of the page, whenever the version is another
    offered     [{"seed": 3, "runs": […]}, …]    proposed places; the list of proposals sends the answers
    model       text                             the model whose images they are; another one has no marks of this one
    result      text                             another one fades the marks: look at what came of them
    heat_label  text                             what the box for heat-maps says; empty for a wall without

An empty URL leaves the picture that is there, if any.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from apps.editor.component import ScriptedComponent
from apps.editor.draft import Draft
from apps.editor.marks import documents

EMPTY = {
    "value": {"marks": [], "heat": False},
    "tiles": [],
    "after": [],
    "rough": [],
    "drawing": "",
    "heat": [],
    "given": {"version": 0, "marks": []},
    "offered": [],
    "model": "",
    "result": "",
    "heat_label": "",
}


@dataclass(frozen=True)
class Role:
    """One brush.

    Attributes:
        name: The role in documents.
        label: The text of the button.
        letter: The letter on the marks, beside their colour.
        colour: The colour of the marks, as #rrggbb.
        single: Whether only one tile may have such marks.
        help: The purpose, in a few words.
    """

    name: str
    label: str
    letter: str
    colour: str
    single: bool = False
    help: str = ""


class Wall(ScriptedComponent):
    """Many images with a brush, an eraser, undo and redo, a wipe between before and after, and a heat-map."""

    def __init__(self, roles: Sequence[Role], side: int, **properties: Any):
        described = [asdict(role) for role in roles]
        super().__init__("wall", "wall", EMPTY, parts=["offered", "closeup"], roles=described, side=side, **properties)


def given(draft: Draft) -> dict[str, Any]:
    """The property `given` for the marks of a draft."""
    return {"given": {"version": draft.version, "marks": documents(draft.marks)}}
