"""Handlers of proposed contexts: search for them, and take the answers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from apps.editor.frame import Updates
from apps.editor.model import Model
from apps.editor.offers import outlines
from apps.editor.proposal_list import cards, read_answers
from apps.editor.remaining import Remaining
from apps.editor.rewrite_view import RewriteView
from apps.editor.session import Session
from apps.editor.wall import given
from apps.editor.work import patch_key
from rewrite import Proposal, Rule, propose_contexts
from rewrite.reports.proposals import SEEDS


@dataclass(frozen=True)
class Proposing:
    """Handlers of proposed contexts."""

    view: RewriteView

    def on_propose_contexts(self, session: Session, document: Any) -> Iterator[Updates]:
        """Search other images for places like the marked ones, and offer them."""
        view, draft, work = self.view, session.set_marks(document), session.begin()
        rule = draft.places_alone()
        remaining = Remaining()
        for images in work.following(partial(proposals, draft.model, rule)):
            done = images / len(SEEDS)
            text = f"Looking for places like the marked ones: {100 * done:.0f} %"
            yield view.show_status(session, remaining.after(text, done))
        with session.lock:
            session.offers.offer(proposals(draft.model, rule))
            session.show_offers()
            count = len(session.offers.waiting)
        text = f"{count} images have such places, clear ones first, outlined on the wall: accept (Y) or refuse (N)."
        said = view.show_status(session, text if count else "No other image has a place like the marked ones.")
        yield said | self.show(session)

    def on_answers(self, session: Session, document: Any) -> Updates:
        """Make contexts of the accepted proposals, and put their images on the wall."""
        with session.lock:
            accepted = session.offers.answer(read_answers(document, session.offers.turn))
            session.show_offers(accepted)
        count = f"{len(accepted)} more places are" if len(accepted) > 1 else "One more place is"
        said = self.view.show_readiness(session, f"{count} context now." if accepted else "")
        return said | self.show(session, **(given(session.draft) if accepted else {}))

    def show(self, session: Session, **more: Any) -> Updates:
        """The wall and the list, with what waits for an answer."""
        view, draft, offers = self.view, session.draft, session.offers
        listed = {view.proposals: gr.update(proposals=cards(draft.model, offers.waiting))}
        return view.show_seeds(session, offered=outlines(offers, draft.side), **more) | listed


def proposals(model: Model, rule: Rule, on_progress: Callable[[int], object] | None = None) -> list[Proposal]:
    """The proposals for the places of a rule; searched once for all sessions."""
    search = partial(propose_contexts, model.generator, rule, on_progress=on_progress)
    return model.shared(("proposals", patch_key(rule)), search)
