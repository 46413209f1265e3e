"""What the components of this editor have in common: a script of their own, and a JSON document as their value."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

HERE = Path(__file__).parent


class ScriptedComponent(gr.HTML):
    """An element that a script fills. Its properties go to the page only; from the page comes its value, untrusted."""

    def __init__(self, script: str, element: str, defaults: Mapping[str, Any], **properties: Any):
        """Put the component on the page.

        Args:
            script: The name of its script and its style sheet.
            element: The class of the element that the script looks for.
            defaults: The properties that the script knows.
            properties: Those that differ, and what any component takes.
        """
        super().__init__(
            html_template=f'<div class="{element}" data-ready="0"></div>',
            css_template=(HERE / f"{script}.css").read_text(encoding="utf-8"),
            js_on_load=(HERE / f"{script}.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            **{"value": None, **defaults, **properties},
        )

    def preprocess(self, payload: Any) -> Any:
        """The document as it came: whoever reads it checks it."""
        return payload

    def postprocess(self, value: Any) -> Any:
        """A document, not HTML."""
        return value

    def api_info(self) -> dict[str, Any]:
        """What programs send."""
        return {"type": "object", "description": "a JSON document"}
