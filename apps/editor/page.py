"""The page: its tabs in their order, its look, and its watch on the server."""

from pathlib import Path

import gradio as gr

from apps.editor import export_tab, heap, model_tab, paint_tab, rewrite_tab, units_tab
from apps.editor.frame import Page
from apps.editor.model import Models
from apps.editor.session import Session

HERE = Path(__file__).parent
KEPT_SECONDS = 6 * 3600
TABS = (
    ("Rewrite a rule", rewrite_tab.build),
    ("Paint with units", paint_tab.build),
    ("Units", units_tab.build),
    ("Model", model_tab.build),
    ("Export", export_tab.build),
)
LOOK = {
    "theme": gr.themes.Default(
        primary_hue="violet", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    ),
    "css": (HERE / "page.css").read_text(encoding="utf-8"),
    "js": (HERE / "page.js").read_text(encoding="utf-8"),
}


def build(models: Models, private: Path) -> gr.Blocks:
    """Assemble the page.

    Args:
        models: The models of the server.
        private: The folder that files for the page may lie in.
    """
    with gr.Blocks(title="Rewrite", analytics_enabled=False, delete_cache=(600, KEPT_SECONDS)) as blocks:
        gr.HTML('<h1>Rewrite a model</h1><p id="gone" role="alert" hidden></p>', elem_id="head")
        session = gr.State(Session(models))
        shared = session, gr.State(0), gr.State(0)
        for name, fill in TABS:
            with gr.Tab(name) as tab:
                fill(Page(models, private, *shared, tab))

        def left(request: gr.Request) -> None:
            """Free what can be made again. The session itself stays among the last ones, as a page may come back."""
            kept = blocks.state_holder.session_data.get(request.session_hash)
            if kept is not None and session._id in kept:
                kept[session._id].rest()
            heap.give_back()

        blocks.unload(left)
    return blocks
