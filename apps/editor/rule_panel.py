"""The rules on the stack, beside the wall: change them, measure them, load and save them."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from apps.editor.guide import measuring, told
from apps.editor.measured import COUNT, card, measured
from apps.editor.rule_list import Wish, read_wishes, saved
from apps.editor.session import Session
from apps.editor.shown import listed, rehung, remarked, spelled
from apps.editor.wall import tiles, urls
from rewrite import Rule
from rewrite.rules import BUILT_IN

LARGEST_FILE = 8 * 2**20


def granted(session: Session, value: Any) -> tuple:
    """Do what the list of rules asks for."""
    wall: dict[str, Any] = {}
    file: dict[str, Any] = {}
    shown, chosen = gr.skip(), (gr.skip(), gr.skip())
    for wish in read_wishes(value, session.turn):
        session.turn = wish.turn
        if wish.do == "save":
            file = {"file": saved(session.rules.saved(wish.index))}
        elif wish.do == "marks":
            if not session.show(wish.index):
                raise ValueError(
                    "the wall cannot show the marks of this rule: it has too many images, or other latents"
                )
            wall |= {"tiles": tiles(session.seeds, session.before()), "given": remarked(session)}
            shown = spelled(session)
            chosen = session.choices.action, session.choices.layer or ""
        else:
            grant(session, wish)
    after = urls(session.after()) if session.rules.held else []
    return gr.update(after=after, **wall), listed(session, **file), told(session), shown, *chosen


def grant(session: Session, wish: Wish) -> None:
    """One change of the stack."""
    match wish.do:
        case "switch":
            session.rules.switch(wish.index, wish.to)
        case "strength":
            session.rules.strengthen(wish.index, wish.to, keep=not wish.live)
        case "rename":
            session.rules.rename(wish.index, wish.to)
        case "move":
            session.rules.move(wish.index, wish.to)
        case "delete":
            session.rules.delete(wish.index)
        case "undo":
            session.rules.undo()
        case "redo":
            session.rules.redo()


def told_measured(session: Session) -> Iterator[tuple]:
    """Say what the rules that are on do to new images."""
    entries = [entry for entry in session.rules.entries if entry.on and entry.strength]
    session.begin()
    yield gr.skip(), told(session, f"Measuring on {COUNT} images that no rule was made from …")
    yield card(measured(session, entries)), told(session, "Measured: see below the rules.")


def loaded(session: Session, content: Any) -> Iterator[tuple]:
    """Solve a rule from a file, and put it on the stack."""
    if not isinstance(content, bytes) or len(content) > LARGEST_FILE:
        raise ValueError(f"a rule is a file of at most {LARGEST_FILE} bytes")
    yield from _loading(session, Rule.from_json(content.decode("utf-8")))


def took(session: Session, name: Any) -> Iterator[tuple]:
    """Solve a rule that comes with the library, and put it on the stack."""
    if name not in BUILT_IN:
        raise ValueError("choose one of the rules in the list")
    yield from _loading(session, Rule.load(BUILT_IN[name]))


def _loading(session: Session, rule: Rule) -> Iterator[tuple]:
    session.begin()
    session.model.generator.layer(rule.layer)
    for done in session.measuring(rule.layer):
        yield gr.skip(), gr.skip(), told(session, measuring(session, done)), gr.skip()
    yield gr.skip(), gr.skip(), told(session, f"Solving “{rule.name[:60]}” …"), gr.skip()
    session.load(rule)
    shown = session.show(len(session.rules) - 1)
    wall = rehung(session) | ({"given": remarked(session)} if shown else {})
    yield wall, listed(session), told(session, f"“{rule.name[:60]}” is on the stack."), spelled(session)


def saved_marks(session: Session, value: Any) -> Any:
    """The rule of the marks as a file."""
    session.mark(value)
    return gr.update(file=saved(session.stated()))
