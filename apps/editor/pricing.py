"""Handlers of the price: the forecast of a rule, of bolder and more cautious ones, and the rank that is enough."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from apps.editor.choices import careful
from apps.editor.frame import Updates
from apps.editor.guide import measuring
from apps.editor.price import STEPS, Price, card, carrying
from apps.editor.rewrite_view import RewriteView
from apps.editor.session import Session


@dataclass(frozen=True)
class Pricing:
    """Handlers of the price."""

    view: RewriteView

    def on_price(self, session: Session) -> Iterator[Updates]:
        """Solve the rule of the marks and show its price; nothing is applied."""
        view, draft = self.view, session.draft
        if draft.missing:
            yield {view.price: ""}
            return
        work = session.begin()
        for done in work.measuring(draft.layer):
            yield view.show_status(session, measuring(draft.layer, done))
        draft = session.draft
        rule = draft.rule()
        if session.solved(rule) is None:
            yield view.show_status(session, "Computing the price …")
        price = Price.of(work.solve(rule), draft.choices.caution)
        yield view.show_status(session) | view.show_reasons(session) | {view.price: card(price, waiting=True)}

    def on_curve(self, session: Session) -> Iterator[Updates]:
        """Solve bolder and more cautious variants, one after the other, until the draft changes."""
        with session.lock:
            work, draft = session.work, session.draft
        if draft.missing:
            return
        rule, caution, curve = draft.rule(), draft.choices.caution, []
        chosen = Price.of(work.solve(rule), caution)
        for step in STEPS:
            patch = work.solve(replace(rule, settings=careful(rule.settings, step)))
            if session.draft.version != draft.version:
                return
            curve.append(Price.of(patch, caution + step))
        yield {self.view.price: card(chosen, curve)}

    def on_propose_rank(self, session: Session) -> Iterator[Updates]:
        """Choose the lowest rank that carries nearly all of the change of the full-rank patch."""
        draft = session.choose(rank=None)
        rule, work = draft.rule(), session.begin()
        for done in work.measuring(draft.layer):
            yield self.view.show_status(session, measuring(draft.layer, done))
        rank = carrying(work.solve(rule))
        session.choose(rank=rank)
        yield self.view.show_status(session) | self.view.show_reasons(session) | {self.view.rank: rank}
