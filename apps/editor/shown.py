"""What the wall and the list of rules show of a session."""

from typing import Any

import gradio as gr

from apps.editor.marks import documents
from apps.editor.rule_list import rows
from apps.editor.session import Session
from apps.editor.wall import given, tiles, urls


def hung(session: Session) -> dict[str, Any]:
    """What the wall shows of a session's model."""
    return {
        "side": session.side,
        "tiles": tiles(session.seeds, session.before()),
        "store": f"rewrite-marks-{session.model.fingerprint}",
    }


def listed(session: Session, **more: Any) -> Any:
    """What the list of rules shows."""
    return gr.update(
        **more, rules=rows(session.rules.entries), can_undo=session.rules.can_undo, can_redo=session.rules.can_redo
    )


def after(session: Session) -> Any:
    """The wall with the rules that are on."""
    return gr.update(after=urls(session.after()) if session.rules.held else [])


def rehung(session: Session) -> Any:
    """The wall with other images on it."""
    edited = urls(session.after()) if session.rules.held else []
    return gr.update(tiles=tiles(session.seeds, session.before()), after=edited, heat=[])


def remarked(session: Session) -> dict[str, Any]:
    """Marks of the session that replace those of the page."""
    return given(session.version, documents(session.marks))


def spelled(session: Session) -> str:
    """The seeds on the wall as a person writes them."""
    seeds = session.seeds
    if seeds == tuple(range(seeds[0], seeds[0] + len(seeds))) and len(seeds) > 1:
        return f"{seeds[0]}-{seeds[-1]}"
    return ",".join(map(str, seeds))
