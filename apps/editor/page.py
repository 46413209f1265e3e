"""The page: its tabs in order, its look, and its check that the server still runs."""

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from apps.editor import heap
from apps.editor.artifacts_tab import ArtifactsTab
from apps.editor.export_tab import ExportTab
from apps.editor.frame import Page, Updates
from apps.editor.model_tab import ModelTab
from apps.editor.models import Models
from apps.editor.paint_tab import PaintTab
from apps.editor.photograph_tab import PhotographTab
from apps.editor.rewrite_tab import RewriteTab
from apps.editor.session import Session
from apps.editor.units_tab import UnitsTab

HERE = Path(__file__).parent
KEPT_SECONDS = 6 * 3600
TABS = (
    ("Rewrite", "rule", RewriteTab),
    ("Paint", "paint", PaintTab),
    ("Photo", "photograph", PhotographTab),
    ("Units", "units", UnitsTab),
    ("Artifacts", "artifacts", ArtifactsTab),
    ("Model", "model", ModelTab),
    ("Export", "export", ExportTab),
)
TAB_KEY = (HERE / "tab_key.js").read_text(encoding="utf-8")
LOOK = {
    "theme": gr.themes.Default(
        primary_hue="violet", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    ).set(  # a contrast of 4.5 and more
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
    ),
    "css": (HERE / "page.css").read_text(encoding="utf-8"),
    "js": (HERE / "page.js").read_text(encoding="utf-8"),
    "head": f"<script>{(HERE / 'stream.js').read_text(encoding='utf-8')}</script>",
}


def build(models: Models, private: Path) -> gr.Blocks:
    """Assemble the page.

    Args:
        models: The models of the server.
        private: The folder of files that the page may download.
    """
    with gr.Blocks(title="Rewrite", analytics_enabled=False, delete_cache=(600, KEPT_SECONDS)) as blocks:
        gr.HTML('<h1>Rewrite a model</h1><p id="gone" role="alert" hidden></p>', elem_id="head")
        session, opened, stacked = gr.State(Session(models)), gr.State(0), gr.State(0)
        shared = session, opened, stacked
        for label, name, fill in TABS:
            with gr.Tab(label) as tab:
                fill(Page(name, models, private, *shared, tab, blocks.load))

        def on_resume(session: Session, key: Any) -> Updates:
            """Go on where this browser tab was before."""
            if key:
                session.resume(key)
            return {opened: session.opened}

        key, load = gr.Textbox(visible=False), partial(blocks.load, js=TAB_KEY)
        Page("page", models, private, *shared, tab, blocks.load).connect(load, on_resume, [key], [opened])

        def on_unload(request: gr.Request) -> None:
            """Free what can be computed again. The session is kept for a while: the page may come back."""
            kept = blocks.state_holder.session_data.get(request.session_hash)
            if kept is not None and session._id in kept:
                kept[session._id].release()
            heap.give_back()

        blocks.unload(on_unload)
    return blocks
