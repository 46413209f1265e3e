"""The base class of the editor's own components: each has a script, and a JSON document as its value."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

HERE = Path(__file__).parent
SHARED = "component.js"

from gradio.events import Dependency

class ScriptedComponent(gr.HTML):
    """An element drawn by a script. Its properties go to the page; its value comes from there and is untrusted."""

    def __init__(
        self,
        script: str,
        element: str,
        defaults: Mapping[str, Any],
        *,
        parts: Sequence[str] = (),
        **properties: Any,
    ):
        """Put the component on the page.

        Args:
            script: Name of the script and of the style sheet.
            element: The class of the element that the script looks for.
            defaults: All properties that the script reads.
            parts: Names of further scripts that it uses.
            properties: Those that differ from the defaults, and those of any component.
        """
        scripts = (SHARED, *(f"{part}.js" for part in parts), f"{script}.js")
        super().__init__(
            html_template=f'<div class="{element}" data-ready="0"></div>',
            css_template=(HERE / f"{script}.css").read_text(encoding="utf-8"),
            js_on_load="".join((HERE / name).read_text(encoding="utf-8") for name in scripts),
            apply_default_css=False,
            **{"value": None, **defaults, **properties},
        )

    def preprocess(self, payload: Any) -> Any:
        """The document as it came; its readers validate it."""
        return payload

    def postprocess(self, value: Any) -> Any:
        """The document as it is: it is no HTML."""
        return value

    def api_info(self) -> dict[str, Any]:
        """The type of the value, for clients of the API."""
        return {"type": "object", "description": "a JSON document"}
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component
