"""The tab "Export": the edited model, its patches, rules and report as files."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from apps.editor.exports import FILES, KINDS, Export, names_of, slug
from apps.editor.frame import AT_ONCE, Page, Updates, hint, message
from apps.editor.session import Session
from rewrite.reports.rendering import render

PLANNED = Path(__file__).parent / "templates" / "planned.html"
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
        inputs = [self.name, self.kinds, self.page.stacked]
        outputs = [self.result, self.files, self.replace, self.name, self.plan, self.page.stacked]
        page.connect(self.go.click, self.on_export, inputs, outputs, reset=self.show_ended)
        page.connect(self.replace.click, self.on_replace, inputs, outputs, reset=self.show_ended)
        seen = partial(gr.on, [page.tab.select, self.name.input, self.kinds.input])
        page.connect(seen, self.on_plan, inputs[:2], [self.plan, self.replace], AT_ONCE)
        page.connect_stop(self.stop, self.show_ended, self.result)

    def _add_form(self) -> None:
        gr.Markdown("## Export the rules that are on")
        self.name = gr.Textbox("edited", label="Name of the files", max_lines=1, elem_id="name")
        self.kinds = gr.CheckboxGroup(
            [(text, kind) for kind, text in KINDS.items()], value=list(KINDS), label="What to write", elem_id="kinds"
        )
        self.plan = gr.HTML(elem_id="planned")
        with gr.Row(elem_classes="line"):
            self.go = gr.Button("Export", variant="primary", elem_id="export", scale=2)
            self.stop = gr.Button("Stop", scale=1, min_width=80)
        self.replace = gr.Button("Replace them", variant="stop", visible=False, elem_id="replace")
        gr.HTML(hint(f"Files go to {self.page.models.options.out.resolve()}, and are offered here."))

    def on_plan(self, session: Session, name: Any, kinds: Any) -> Updates:
        """List what would be written."""
        return {self.plan: self._planned(session, slug(name), kinds), self.replace: gr.update(visible=False)}

    def on_export(self, session: Session, name: Any, kinds: Any, stacked: Any) -> Iterator[Updates]:
        """Write the files, one after the other; asks before it replaces any."""
        made = self._export(session, name, kinds)
        there = made.replaced
        if there:
            names = ", ".join(path.name for path in there)
            text = f"There already, in {made.folder}: {names}. Replace them, or choose another name."
            yield {self.result: message(text), self.name: made.name, self.replace: gr.update(visible=True)}
        else:
            yield from self._written(session, made, stacked)

    def on_replace(self, session: Session, name: Any, kinds: Any, stacked: Any) -> Iterator[Updates]:
        """Write the files over those that are there."""
        yield from self._written(session, self._export(session, name, kinds), stacked)

    def _export(self, session: Session, name: Any, kinds: Any) -> Export:
        return Export.of(session, self.page.models.options.out, self.page.private, slug(name), kinds)

    def _planned(self, session: Session, name: Any, kinds: Any) -> str:
        with session.lock:
            entries, model = session.rules.active, session.model.name
        chosen = [kind for kind in KINDS if isinstance(kinds, list) and kind in kinds]
        if not entries or not chosen or not name:
            return ""
        folder = self.page.models.options.out / name
        paths = [folder / each for each in names_of(model, entries, name, chosen)]
        return render(PLANNED, folder=folder.resolve(), paths=[(path.name, path.exists()) for path in paths])

    def _written(self, session: Session, made: Export, stacked: Any) -> Iterator[Updates]:
        yield {self.name: made.name, self.replace: gr.update(visible=False)}
        for step in made.steps():
            yield {self.result: message(f"{step} …")}
        if made.kinds & FILES:
            session.file(entry.key for entry in made.entries)
        yield {
            self.result: render(WRITTEN, folder=made.folder, paths=made.written),
            self.files: gr.update(value=[str(path) for path in made.offered], visible=True),
            self.plan: self._planned(session, made.name, sorted(made.kinds)),
            self.page.stacked: (stacked or 0) + 1,
        }

    def show_ended(self, session: Session, text: str) -> Updates:
        """The updates after Stop or an error."""
        return {self.result: message("Stopped; nothing was written." if text else "Nothing was written.")}
