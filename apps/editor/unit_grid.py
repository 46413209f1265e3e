"""The grid of units: a component that shows images of each unit, and a box to tick for each.

Properties: `layer`, `units` (`[{"unit": 3, "concept": "tree", "iou": 0.2}, …]`), `ticked` (those of them ticked
at first), `strips` (a data URL for each unit, or none yet), `effects` (for each unit what it takes away, or null:
`{"concept": "tree", "share": 0.3, "low": 0.2, "high": 0.4}`, without ends where it is estimated; or none yet), `tiles`
(`[{"name": "seed 3", "image": url, "after": url or None}, …]`), `note` and `turn`. The event `input` brings its value:
`{"layer": "b16.conv1", "ticked": [3, 17], "turn": 4}`.
"""

from typing import Any, NamedTuple

from apps.editor.component import ScriptedComponent
from apps.editor.marks import whole

MOST_UNITS = 4096
EMPTY = {"layer": "", "units": [], "ticked": [], "strips": [], "effects": [], "tiles": [], "note": "", "turn": 0}


class UnitGrid(ScriptedComponent):
    """Units with the images that drive them most, and the wall without the ticked ones."""

    def __init__(self, **properties: Any):
        super().__init__("unit_grid", "units", EMPTY, **properties)


class Ticked(NamedTuple):
    """The ticked units of a layer, and the number of the change."""

    layer: str = ""
    units: tuple[int, ...] = ()
    turn: int = 0


def read_ticked(document: Any) -> Ticked:
    """Read a grid's value; None has no ticks.

    Raises:
        ValueError: The document is invalid; the message says why.
    """
    if document is None:
        return Ticked()
    if not isinstance(document, dict):
        raise ValueError("the grid of units sends an object")
    layer, units, turn = document.get("layer"), document.get("ticked"), document.get("turn", 0)
    if not isinstance(layer, str) or not whole(turn) or abs(turn) > 2**31:
        raise ValueError("the grid of units names a layer and a turn")
    if not isinstance(units, list) or len(units) > MOST_UNITS or not all(whole(unit) for unit in units):
        raise ValueError(f"the grid of units sends at most {MOST_UNITS} numbers")
    if len(set(units)) < len(units):
        raise ValueError("a unit is ticked once")
    return Ticked(layer, tuple(units), turn)
