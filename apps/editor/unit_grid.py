"""The grid of units: a component that shows what each unit draws, and lets people tick some of them.

The seam: to the page go `layer`, `units` (`[{"unit": 3, "concept": "tree", "iou": 0.2}, …]`), `strips` (a data URL for
each unit, or none yet), `effects` (for each unit what it takes away, or null: `{"concept": "tree", "share": 0.3, "low":
0.2, "high": 0.4}`, without ends where it is estimated; or none yet), `tiles` (`[{"seed": 3, "image": url, "after": url
or None}, …]`), `said` and `turn`. From the page comes its value by the event `input`: `{"layer": "b16.conv1", "ticked":
[3, 17], "turn": 4}`, read by `read_ticked` as the untrusted document that it is.
"""

from pathlib import Path
from typing import Any

import gradio as gr

from apps.editor.marks import whole

HERE = Path(__file__).parent
STYLE = (HERE / "unit_grid.css").read_text(encoding="utf-8")
SCRIPT = (HERE / "unit_grid.js").read_text(encoding="utf-8")
MOST_UNITS = 4096
EMPTY = {"layer": "", "units": [], "strips": [], "effects": [], "tiles": [], "said": "", "turn": 0}


class UnitGrid(gr.HTML):
    """Units with the images that drive them most, and the wall without those that are ticked."""

    def __init__(self, **more: Any):
        """Put a grid on the page.

        Args:
            more: See above; and what any component takes.
        """
        super().__init__(
            value=more.pop("value", None),
            html_template='<div class="units" data-ready="0"></div>',
            css_template=STYLE,
            js_on_load=SCRIPT,
            apply_default_css=False,
            **{**EMPTY, **more},
        )

    def preprocess(self, payload: Any) -> Any:
        """The document as it came: `read_ticked` checks it."""
        return payload

    def postprocess(self, value: Any) -> Any:
        """A document, not HTML."""
        return value

    def api_info(self) -> dict[str, Any]:
        """What programs send."""
        return {"type": "object", "description": "ticked units"}


def read_ticked(document: Any) -> tuple[str, tuple[int, ...], int]:
    """The layer, its ticked units and the turn of a grid's value; none are ticked before anyone did.

    Raises:
        ValueError: It is not what a grid sends; the message says what is wrong.
    """
    if document is None:
        return "", (), 0
    if not isinstance(document, dict):
        raise ValueError("the grid of units sends an object")
    layer, ticked, turn = document.get("layer"), document.get("ticked"), document.get("turn", 0)
    if not isinstance(layer, str) or not whole(turn) or abs(turn) > 2**31:
        raise ValueError("the grid of units names a layer and a turn")
    if not isinstance(ticked, list) or len(ticked) > MOST_UNITS or not all(whole(unit) for unit in ticked):
        raise ValueError(f"the grid of units sends at most {MOST_UNITS} numbers")
    if len(set(ticked)) < len(ticked):
        raise ValueError("a unit is ticked once")
    return layer, tuple(ticked), turn
