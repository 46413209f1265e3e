"""Handlers of proposed contexts: search for them, and take the answers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from apps.editor.frame import Updates
from apps.editor.model import Model
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
            count = len(session.offers.waiting)
        text = f"{count} images have such places, clear ones first: accept or refuse them."
        yield view.show_status(session, text if count else "No other image has a place like the marked ones.") | {
            view.proposals: gr.update(proposals=cards(draft.model, session.offers.waiting))
        }

    def on_answers(self, session: Session, document: Any) -> Updates:
        """Make contexts of the accepted proposals, and put their images on the wall."""
        view = self.view
        with session.lock:
            accepted = session.offers.answer(read_answers(document, session.offers.turn))
            if accepted:
                session.add_images_with_contexts(accepted)
        left = {view.proposals: gr.update(proposals=cards(session.model, session.offers.waiting))}
        if not accepted:
            return view.show_readiness(session) | left
        count = f"{len(accepted)} more places are" if len(accepted) > 1 else "One more place is"
        wall = view.show_seeds(session, **given(session.draft))
        return wall | view.show_readiness(session, f"{count} context now.") | left


def proposals(model: Model, rule: Rule, on_progress: Callable[[int], object] | None = None) -> list[Proposal]:
    """The proposals for the places of a rule; searched once for all sessions."""
    search = partial(propose_contexts, model.generator, rule, on_progress=on_progress)
    return model.shared(("proposals", patch_key(rule)), search)
