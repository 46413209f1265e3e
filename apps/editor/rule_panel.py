"""Handlers of the stack of rules: rewrite, change, measure, load and save rules."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from apps.editor.data_urls import urls
from apps.editor.draft import Draft
from apps.editor.example import TITLE
from apps.editor.frame import Updates
from apps.editor.guide import DONE, solving
from apps.editor.measured import COUNT, card, measuring
from apps.editor.requests import Request
from apps.editor.rewrite_view import RewriteView
from apps.editor.rule_list import read_rule_requests, rule_file
from apps.editor.session import Session
from apps.editor.stack import Rules
from apps.editor.wall import given
from apps.editor.work import Work
from rewrite import Report, Rule
from rewrite.rules import BUILT_IN

FIRST_TILES = 4
LARGEST_FILE = 8 * 2**20


@dataclass(frozen=True)
class RulePanel:
    """Handlers of the stack of rules."""

    view: RewriteView

    def on_rewrite(self, session: Session, document: Any) -> Iterator[Updates]:
        """Solve the rule of the marks and put it on the stack; the first tiles are shown before the rest.

        A rule with the same marks is replaced, so that a second press, or another caution, makes no second rule.
        """
        with session.lock:
            draft, work = session.set_marks(document), session.begin()
        yield from self._rewrite(session, draft, work)

    def on_example(self, session: Session) -> Iterator[Updates]:
        """Fill in the marks of the example, and rewrite its rule."""
        view = self.view
        with session.lock:
            draft, work = session.show_example(), session.begin()
        chosen = view.show_choices(draft.choices) | view.show_readiness(session, f"Looking for {TITLE} …")
        yield view.show_seeds(session, **given(draft)) | chosen
        yield from self._rewrite(session, draft, work, TITLE)

    def _rewrite(self, session: Session, draft: Draft, work: Work, name: str = "") -> Iterator[Updates]:
        view, rule, caution = self.view, draft.rule(name or rule_name(session)), draft.choices.caution
        session.rules.check_room(rule)
        for text in solving(work, rule, caution):
            yield view.show_status(session, text)
        entry = work.rewrite_again(draft.rule_with_effect(rule.name), caution)
        if session.model.drawer.small:
            yield {view.wall: gr.update(after=urls(session.after(FIRST_TILES)))}
        yield view.show_edited(session, result=entry.key) | view.show_rules(session) | view.show_status(session, DONE)

    def on_requests(self, session: Session, document: Any) -> Updates:
        """Carry out the requests of the list of rules."""
        view, file, shown = self.view, {}, False
        with session.lock:
            for request in read_rule_requests(document, session.turn):
                session.turn = request.turn
                if request.do == "save":
                    entry = session.rules.entry(request.index)
                    file = {"file": rule_file(entry.saved())}
                    session.file([entry.key])
                elif request.do == "marks":
                    shown = session.show_rule(request.index)
                    if not shown:
                        raise ValueError(
                            "the wall cannot show the marks of this rule: too many images, or masks of another size"
                        )
                else:
                    change(session.rules, request)
        if not shown:
            return view.show_edited(session) | view.show_rules(session, **file) | view.show_status(session)
        draft = session.draft
        wall = view.show_seeds(session, **given(draft))
        chosen = {
            view.action: draft.choices.action,
            view.layer: draft.choices.layer or "",
        }
        return wall | view.show_rules(session, **file) | view.show_status(session) | chosen

    def on_measure(self, session: Session) -> Iterator[Updates]:
        """Measure the active rules on new images."""
        entries, work = session.rules.active, session.begin()
        yield self.view.show_status(session, f"Measuring on {COUNT} images that no rule was made from …")
        steps = measuring(work, entries, first_seed=session.draft.following(1)[0])
        report = yield from self._told(session, steps)
        yield self.view.show_status(session, "Measured: see below the rules.") | {self.view.report: card(report)}

    def _told(self, session: Session, steps: Generator[str, None, Report]) -> Generator[Updates, None, Report]:
        """Show what is yielded; returns what comes of it."""
        while True:
            try:
                yield self.view.show_status(session, next(steps))
            except StopIteration as end:
                return end.value

    def on_load(self, session: Session, content: Any) -> Iterator[Updates]:
        """Solve a rule from a file, and put it on the stack."""
        if not isinstance(content, bytes) or len(content) > LARGEST_FILE:
            raise ValueError(f"a rule is a file of at most {LARGEST_FILE} bytes")
        yield from self._load(session, Rule.from_json(content.decode("utf-8")))

    def on_load_built_in(self, session: Session, name: Any) -> Iterator[Updates]:
        """Solve a rule that comes with the library, and put it on the stack."""
        if name not in BUILT_IN:
            raise ValueError("choose one of the rules in the list")
        yield from self._load(session, Rule.load(BUILT_IN[name]))

    def on_save_marks(self, session: Session, document: Any) -> Iterator[Updates]:
        """Save the rule of the marks as a file, with the weights that they choose."""
        with session.lock:
            draft, work = session.set_marks(document), session.begin()
        rule, caution = draft.rule(rule_name(session)), draft.choices.caution
        for text in solving(work, rule, caution):
            yield self.view.show_status(session, text)
        saved = work.settled(draft.rule_with_effect(rule.name), caution)
        yield self.view.show_status(session) | {self.view.rules: gr.update(file=rule_file(saved))}

    def _load(self, session: Session, rule: Rule) -> Iterator[Updates]:
        view, work, name = self.view, session.begin(), f"“{rule.name[:60]}”"
        work.check_rule(rule)
        session.rules.check_room()
        yield view.show_status(session, f"Solving {name} …")
        for text in solving(work, rule):
            yield view.show_status(session, text)
        work.rewrite(rule)
        shown = session.show_rule(len(session.rules) - 1)
        wall = view.show_seeds(session, **(given(session.draft) if shown else {}))
        yield wall | view.show_rules(session) | view.show_status(session, f"{name} is on the stack.")


def rule_name(session: Session) -> str:
    """The name of the next rule, until it is renamed."""
    return f"rule {len(session.rules) + 1}"


def change(rules: Rules, request: Request) -> None:
    """Carry out a request that changes the stack."""
    match request.do:
        case "switch":
            rules.switch(request.index, request.to)
        case "strength":
            rules.strengthen(request.index, request.to, keep=not request.live)
        case "rename":
            rules.rename(request.index, request.to)
        case "move":
            rules.move(request.index, request.to)
        case "delete":
            rules.delete(request.index)
        case "undo":
            rules.undo()
        case "redo":
            rules.redo()
