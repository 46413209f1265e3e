"""The tab "Export": what the stack of rules makes of the model, as files."""

from collections.abc import Iterator
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from apps.editor.exports import KINDS, Export
from apps.editor.frame import AT_ONCE, IN_TURN, Page, only, said
from apps.editor.session import Session


def build(page: Page) -> None:
    """Put the tab on the page."""
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            gr.Markdown("### Export the rules that are on")
            name = gr.Textbox("edited", label="Name of the files", max_lines=1, elem_id="name")
            kinds = gr.CheckboxGroup(
                [(text, kind) for kind, text in KINDS.items()],
                value=list(KINDS),
                label="What to write",
                elem_id="kinds",
            )
            with gr.Row(elem_classes="line"):
                go = gr.Button("Export", variant="primary", elem_id="export", scale=2)
                stop = gr.Button("Stop", scale=1, min_width=80)
            out = escape(str(page.models.options.out.resolve()))
            gr.HTML(f'<p class="soft">Files go to {out}, and are offered here.</p>')
        with gr.Column(scale=6, min_width=320):
            told = gr.HTML("<p>Nothing was exported yet.</p>", elem_id="exported")
            files = gr.Files(label="Download", interactive=False, elem_id="downloads", visible=False)
    go.click(
        said(partial(exported, page), only(0, 2, stopped)),
        [page.session, name, kinds],
        [told, files],
        api_name="export",
        **IN_TURN,
    )
    stop.click(said(stopped), [page.session], [told], api_name="stop_export", **AT_ONCE)


def exported(page: Page, session: Session, name: Any, kinds: Any) -> Iterator[tuple]:
    """Write the files, one after the other."""
    made = Export.of(session, page.models.options.out, page.private, name, kinds)
    session.begin()
    for step in made.steps():
        yield f'<p role="status">{escape(step)} …</p>', gr.skip()
    listed = "".join(f"<li><code>{escape(str(path))}</code></li>" for path in made.written)
    yield (
        f'<p role="status">Written to {escape(str(made.folder))}:</p><ul>{listed}</ul>',
        gr.update(value=[str(path) for path in made.offered], visible=True),
    )


def stopped(session: Session) -> str:
    """End the work."""
    session.stop()
    return "<p>Stopped; nothing was written.</p>"
