"""The tab "Export": the edited model, its patches, rules and report as files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from apps.editor.exports import FILES, KINDS, Export
from apps.editor.frame import Page, Updates, hint, message
from apps.editor.session import Session
from rewrite.reports.rendering import render

WRITTEN = Path(__file__).parent / "templates" / "written.html"


class ExportTab:
    """The components of the tab, and its handlers."""

    def __init__(self, page: Page):
        self.page = page
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self._add_form()
            with gr.Column(scale=6, min_width=320):
                self.result = gr.HTML("<p>Nothing was exported yet.</p>", elem_id="exported")
                self.files = gr.Files(label="Download", interactive=False, elem_id="downloads", visible=False)
        inputs, outputs = [self.name, self.kinds, self.page.stacked], [self.result, self.files, self.page.stacked]
        page.connect(self.go.click, self.on_export, inputs, outputs, reset=self.show_ended)
        page.connect_stop(self.stop, self.show_ended, self.result)

    def _add_form(self) -> None:
        gr.Markdown("## Export the rules that are on")
        self.name = gr.Textbox("edited", label="Name of the files", max_lines=1, elem_id="name")
        self.kinds = gr.CheckboxGroup(
            [(text, kind) for kind, text in KINDS.items()], value=list(KINDS), label="What to write", elem_id="kinds"
        )
        with gr.Row(elem_classes="line"):
            self.go = gr.Button("Export", variant="primary", elem_id="export", scale=2)
            self.stop = gr.Button("Stop", scale=1, min_width=80)
        gr.HTML(hint(f"Files go to {self.page.models.options.out.resolve()}, and are offered here."))

    def on_export(self, session: Session, name: Any, kinds: Any, stacked: Any) -> Iterator[Updates]:
        """Write the files, one after the other."""
        made = Export.of(session, self.page.models.options.out, self.page.private, name, kinds)
        for step in made.steps():
            yield {self.result: message(f"{step} …")}
        if made.kinds & FILES:
            session.file(entry.key for entry in made.entries)
        yield {
            self.result: render(WRITTEN, folder=made.folder, paths=made.written),
            self.files: gr.update(value=[str(path) for path in made.offered], visible=True),
            self.page.stacked: (stacked or 0) + 1,
        }

    def show_ended(self, session: Session, text: str) -> Updates:
        """The updates after Stop or an error."""
        return {self.result: message("Stopped; nothing was written." if text else "Nothing was written.")}
