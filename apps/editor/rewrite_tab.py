"""The tab "Rewrite a rule": brush copy, paste and context, see the price, rewrite, and take it back."""

from functools import partial

import gradio as gr
from gradio.events import Dependency

from apps.editor.animating import FETCH, Animating
from apps.editor.frame import AT_ONCE, CURVE, DRAW, PRICE, WORK, Page, Updates
from apps.editor.looking import Looking
from apps.editor.marking import Marking
from apps.editor.pricing import Pricing
from apps.editor.proposing import Proposing
from apps.editor.rewrite_view import RewriteView
from apps.editor.rule_panel import RulePanel
from apps.editor.session import Session

# The page says so itself: the server may be busy with the work of others.
REWRITING = "(status) => status.replace(/<p>[^]*<\\/p>/, '<p>Rewriting …</p>')"


class RewriteTab:
    """The components of the tab, and its handlers."""

    def __init__(self, page: Page):
        self.page, self.view = page, RewriteView(page.new())
        self._connect_price()
        self._connect_wall()
        self._connect_rules()

    def _connect_price(self) -> None:
        """Changes of marks and choices are followed by the price, and that by the curve where it is looked at."""
        view, connect, stopped = self.view, self.page.connect, self.view.show_status
        marking, pricing, proposing = Marking(view), Pricing(view), Proposing(view)
        choices = view.choices
        chosen, guide = partial(gr.on, [choice.input for choice in choices]), [view.status, view.rewrite]
        shown = [*guide, *view.seen, view.proposals]
        answered = connect(view.proposals.input, proposing.on_answers, [view.proposals], shown)
        self._followed_by_drawing(answered)
        changed = (
            connect(view.wall.input, marking.on_marks, [view.wall], [*guide, view.wall], AT_ONCE, stopped),
            connect(chosen, marking.on_choices, choices, [*guide, view.why], AT_ONCE),
            connect(
                view.find.click,
                marking.on_find,
                [view.wall, view.concept, view.further],
                [*guide, view.wall],
                WORK,
                stopped,
            ),
            answered,
            connect(
                view.propose.click,
                pricing.on_propose_rank,
                [],
                [view.rank, view.status, view.why],
                WORK,
                stopped,
            ),
        )
        for event in changed:
            priced = connect(event.then, pricing.on_price, [], [view.price, view.status, view.why], PRICE, stopped)
            connect(priced.then, pricing.on_curve, [], [view.price], CURVE)
        connect(view.price.click, pricing.on_figures, [], [view.price], CURVE)

    def _connect_wall(self) -> None:
        view, connect, marking, stopped = self.view, self.page.connect, Marking(self.view), self.view.show_status
        seen, wall = view.seen, view.wall
        made = connect(view.animate.click, Animating(view, self.page.private).on_animate, [], [view.animation])
        made.success(None, None, None, js=FETCH)
        connect(view.preview.click, marking.on_preview, [wall], [wall, view.status], WORK)
        searched, offered = Proposing(view).on_propose_contexts, [*seen, view.status, view.proposals]
        shown = [*seen, view.rules, view.status, view.rewrite, view.price, view.why]
        model = [*shown, *view.choices, view.example, view.concept, view.concepts, view.proposals]
        self._followed_by_drawing(
            connect(view.seeds.submit, marking.on_seeds, [wall, view.seeds], seen),
            connect(view.count.input, marking.on_count, [wall, view.count], seen),
            connect(view.latents.upload, marking.on_latents, [wall, view.latents], [*seen, view.status]),
            connect(view.more.click, searched, [wall], offered, WORK, reset=stopped),
            connect(view.previous_seeds.click, marking.on_previous_seeds, [wall], seen),
            connect(view.next_seeds.click, marking.on_next_seeds, [wall], seen),
            connect(self.page.opened.change, self.on_model, [], model),
        )
        looking, look = Looking(view, self.page.private), [wall, view.truncation, view.label]
        self._followed_by_drawing(
            connect(view.truncation.input, looking.on_look, look, seen),
            connect(partial(gr.on, [view.label.submit, view.label.blur]), looking.on_look, look, seen),
        )
        for asked in (view.latent.click, view.image.submit):
            connect(asked, looking.on_latent, [view.image], [view.latent_text, view.latent_file])
        connect(self.page.load, marking.on_draw, [], [wall], DRAW)
        self.page.connect_stop(view.stop, view.show_status, view.status)

    def _connect_rules(self) -> None:
        view, connect, panel = self.view, self.page.connect, RulePanel(self.view)
        stack, stopped = [view.wall, view.rules, view.status], view.show_status
        seen = [*stack, *view.seen[1:]]
        view.rewrite.click(None, [view.status], [view.status], js=REWRITING)
        self._followed_by_drawing(
            connect(view.rewrite.click, panel.on_rewrite, [view.wall], stack, WORK, stopped),
            connect(
                view.example.click,
                panel.on_example,
                [],
                [*seen, view.rewrite, *view.choices],
                WORK,
                stopped,
            ),
            connect(view.rules.input, panel.on_requests, [view.rules], [*seen, view.action, view.layer]),
            connect(view.load.upload, panel.on_load, [view.load], seen, WORK, stopped),
            connect(view.take.click, panel.on_load_built_in, [view.ready], seen, WORK, stopped),
            connect(self.page.stacked.change, self.on_stack, [], [view.wall, view.rules]),
        )
        connect(view.measure.click, panel.on_measure, [], [view.report, view.status], WORK, stopped)
        connect(view.save.click, panel.on_save_marks, [view.wall], [view.rules, view.status], WORK, stopped)
        # A report is of the rules as they were when it was measured.
        changes = [view.rewrite.click, view.example.click, view.rules.input, view.load.upload, view.take.click]
        gr.on([*changes, self.page.stacked.change, self.page.opened.change], None, None, [view.report], js="() => ''")

    def _followed_by_drawing(self, *events: Dependency) -> None:
        """What changes the wall is followed by the drawing of it, where that takes time."""
        for event in events:
            self.page.connect(event.then, Marking(self.view).on_draw, [], [self.view.wall], DRAW)

    def on_model(self, session: Session) -> Updates:
        """Show the model that was opened."""
        return self.view.show_model(session)

    def on_stack(self, session: Session) -> Updates:
        """Show the rules after another tab changed them."""
        return self.view.show_edited(session) | self.view.show_rules(session)
