"""The wall: a component of many images that people brush on, in roles.

The seam: `Wall(roles, side)` is a Gradio component. From the page comes its value, which `marks.py` reads as the
untrusted document that it is: `{"marks": [{"seed": 3, "role": "copy", "runs": [[70, 4], …]}, …], "heat": false}`; the
event is `input`, at the end of each stroke. To the page go properties, never echoed back, by `gr.update(after=…)`:

    tiles   [{"seed": 3, "image": url}, …]   what stands on the wall; marks on other seeds are kept out of sight
    after   [url or None, …]                 the same tiles edited; empty takes them away
    heat    [url or None, …]                 the same tiles as heat-maps; empty takes them away
    given   {"version": n, "marks": […]}     marks that replace those of the page, whenever the version is another
    store   text                             under which name the browser keeps the marks over a reload, if any
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image
from torch import Tensor

from rewrite.reports.pictures import pictures

LARGEST_TILE = 256
HERE = Path(__file__).parent
STYLE = (HERE / "wall.css").read_text(encoding="utf-8")
SCRIPT = (HERE / "wall.js").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Role:
    """What a brush marks.

    Attributes:
        name: What it is called in documents.
        label: What the button says.
        letter: What stands on the marks, beside their colour.
        colour: Of the marks, as #rrggbb.
        single: Whether it lives on one tile only.
        help: What it is for, in a few words.
    """

    name: str
    label: str
    letter: str
    colour: str
    single: bool = False
    help: str = ""


class Wall(gr.HTML):
    """Many images with a brush, an eraser, undo and redo, a wipe between before and after, and a heat-map."""

    def __init__(
        self,
        roles: Sequence[Role],
        side: int,
        *,
        tiles: Sequence[Mapping[str, Any]] = (),
        store: str = "",
        heat_label: str = "",
        value: Any = None,
        **more: Any,
    ):
        """Put a wall on the page.

        Args:
            roles: The brushes, in the order of their keys.
            side: Height and width of the masks.
            tiles: What stands on it first.
            store: See above.
            heat_label: What the box for heat-maps says; empty for a wall without.
            value: The first value.
            more: What any component takes.
        """
        defaults = {"after": [], "heat": [], "given": {"version": 0, "marks": []}}
        super().__init__(
            value=value or {"marks": [], "heat": False},
            html_template='<div class="wall" data-ready="0"></div>',
            css_template=STYLE,
            js_on_load=SCRIPT,
            apply_default_css=False,
            roles=[asdict(role) for role in roles],
            side=side,
            tiles=list(tiles),
            store=store,
            heat_label=heat_label,
            **{**defaults, **more},
        )

    def preprocess(self, payload: Any) -> Any:
        """The document as it came: whoever reads it checks it."""
        return payload

    def postprocess(self, value: Any) -> Any:
        """A document, not HTML."""
        return value

    def api_info(self) -> dict[str, Any]:
        """What programs send."""
        return {"type": "object", "description": "marks on the wall"}


def tiles(seeds: Sequence[int], images: Tensor) -> list[dict[str, Any]]:
    """What `Wall` shows for some images."""
    return [{"seed": seed, "image": url} for seed, url in zip(seeds, urls(images), strict=True)]


def urls(images: Tensor) -> list[str]:
    """Images in [-1, 1] as data URLs."""
    return [url(picture) for picture in pictures(images)]


def url(picture: Image.Image) -> str:
    """A picture as a data URL; JPEG takes a third of a millisecond where webp takes forty."""
    if max(picture.size) > LARGEST_TILE:
        picture.thumbnail((LARGEST_TILE, LARGEST_TILE))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=92, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode()


def given(version: int, marks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Marks that replace those of the page."""
    return {"version": version, "marks": list(marks)}
