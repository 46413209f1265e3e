"""Handlers of the price: the forecast of a rule, of bolder and more cautious ones, and the rank that is enough."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import gradio as gr

from apps.editor.choices import careful
from apps.editor.frame import Updates
from apps.editor.guide import DONE, solving
from apps.editor.price import STEPS, Price, card, carrying, summary
from apps.editor.rewrite_view import RewriteView
from apps.editor.session import Session
from apps.editor.work import settings_of


@dataclass(frozen=True)
class Pricing:
    """Handlers of the price."""

    view: RewriteView

    def on_price(self, session: Session) -> Iterator[Updates]:
        """Solve the rule of the marks and show its price; nothing is applied. Marks that changed meanwhile end it."""
        view, draft = self.view, session.draft
        if draft.missing:
            yield {view.price: ""}
            return
        work = session.begin()
        if session.solved(draft) is None:
            yield view.show_status(session, "Computing the price …")
        for text in solving(work, draft.rule(), draft.choices.caution):
            if not session.draft.weighed_as(draft):
                work.stop()
                return
            yield view.show_status(session, text)
        with session.lock:
            draft, known = session.draft, session.solved(session.draft)
        if known is not None:
            price = Price.of(known, draft.choices.caution)
            following = DONE if session.rules.alike(draft.rule()) else draft.advice or "Press Rewrite."
            text = f"{summary(price)} {following}"
            yield view.show_status(session, text) | view.show_reasons(session) | {view.price: card(price, waiting=True)}

    def on_curve(self, session: Session) -> Iterator[Updates]:
        """Solve bolder and more cautious variants, one after the other, until the draft changes; if they are seen."""
        with session.lock:
            work, draft, seen = session.work, session.draft, session.figures
        chosen, caution, curve = session.solved(draft), draft.choices.caution, []
        if chosen is None or not seen:
            yield {self.view.price: gr.skip()}  # to yield nothing would empty it
            return
        rule, settings = draft.rule(), settings_of(chosen)
        for step in STEPS:
            patch = work.solve(replace(rule, settings=careful(settings, step)))
            if session.draft.version != draft.version:
                return
            curve.append(Price.of(patch, caution + step))
        yield {self.view.price: card(Price.of(chosen, caution), curve)}

    def on_figures(self, session: Session) -> Iterator[Updates]:
        """Show the variants from now on: the figures were opened."""
        session.figures = True
        yield from self.on_curve(session)

    def on_propose_rank(self, session: Session) -> Iterator[Updates]:
        """Choose the lowest rank that carries nearly all of the change of the full-rank patch."""
        draft = session.choose(rank=None)
        rule, caution, work = draft.rule(), draft.choices.caution, session.begin()
        for text in solving(work, rule, caution):
            yield self.view.show_status(session, text)
        rank = carrying(work.solve(rule, caution))
        session.choose(rank=rank)
        yield self.view.show_status(session) | self.view.show_reasons(session) | {self.view.rank: rank}
