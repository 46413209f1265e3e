"""The tab "Rewrite a rule": brush copy, paste and context, see the price, rewrite, and take it back."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from apps.editor.frame import AT_ONCE, IN_TURN, Page, said
from apps.editor.session import Session
from apps.editor.wall import Role, Wall, tiles, urls

ROLES = (
    Role("copy", "Copy", "C", "#2f7de1", True, "what you want more of"),
    Role("paste", "Paste", "P", "#d9480f", True, "where it goes first"),
    Role("context", "Context", "X", "#8e44ad", False, "more places of that kind"),
    Role("protect", "Protect", "S", "#0b7a5b", False, "what must stay as it is"),
)


def build(page: Page) -> None:
    """Put the tab on the page."""
    new = page.new()
    with gr.Row():
        with gr.Column(scale=7, min_width=320):
            wall = Wall(
                ROLES,
                new.side,
                tiles=tiles(new.seeds, new.before()),
                store=f"rewrite-marks-{new.model.generator.fingerprint}",
                heat_label="Where would it fire?",
                elem_id="wall",
            )
        with gr.Column(scale=4, min_width=320):
            status = gr.HTML(elem_id="status")
            go = gr.Button("Rewrite", variant="primary", interactive=False, elem_id="rewrite")

    def marked(session: Session, value: Any) -> tuple:
        session.mark(value)
        return session, session.missing or session.advice or "Ready.", gr.update(interactive=not session.missing)

    def rewrite(session: Session, value: Any) -> Iterator[tuple]:
        session.mark(value)
        session.rewrite()
        yield session, gr.update(after=urls(session.after(4)))
        yield session, gr.update(after=urls(session.after()))

    wall.input(said(marked), [page.session, wall], [page.session, status, go], **AT_ONCE)
    go.click(said(rewrite), [page.session, wall], [page.session, wall], **IN_TURN)
