"""One session in several threads at once, as a page's handlers run."""

import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from apps.editor.artifacts import Brushed
from apps.editor.artifacts_tab import ArtifactsTab
from apps.editor.export_tab import ExportTab
from apps.editor.frame import AT_ONCE
from apps.editor.marking import Marking
from apps.editor.model_tab import ModelTab
from apps.editor.models import Models
from apps.editor.options import Options
from apps.editor.pricing import Pricing
from apps.editor.rewrite_tab import RewriteTab
from apps.editor.rule_panel import RulePanel
from apps.editor.session import Session
from apps.editor.stack import MOST_HISTORY, MOST_RULES, Entry, Rules
from apps.editor.units_tab import UnitsState, UnitsTab
from apps.editor.work import Stopped
from dissect.sources.contract import CallableSource
from rewrite.reports.concepts import Concepts
from tests.at_once import PATIENCE, at_once, in_time
from tests.editing import WHOLE, begun, box, brushed, find, rewrite
from tests.editors import built, made

THREADS = 4


class Busy:
    """Another session that works with the generator inside a `with` block, in a thread of its own."""

    def __init__(self, session: Session):
        self.session, self.begun, self.over = session, threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self) -> None:
        with self.session.model.holding(self.session.rules.held):
            self.begun.set()
            self.over.wait(PATIENCE)

    def __enter__(self) -> None:
        self.thread.start()
        assert self.begun.wait(PATIENCE)

    def __exit__(self, *_: Any) -> None:
        self.over.set()
        self.thread.join()


def test_no_change_of_the_draft_is_lost(session, impatient):
    first, times = session.draft.version, 150

    def choose(thread: int) -> None:
        for number in range(times):
            session.choose(caution=(1 + thread + THREADS * number) / 1000)

    def mark() -> None:
        for number in range(times):
            session.set_marks(brushed((number + 1, "copy", box(2, 2))))

    at_once(*(partial(choose, thread) for thread in range(THREADS)), mark)
    assert session.draft.version == first + (THREADS + 1) * times
    assert session.draft.marks[0].seed == times
    assert session.draft.choices.caution > 0


def test_a_rule_is_never_made_of_the_marks_of_two_moments(session, impatient):
    moments = [
        brushed((seed, "copy", box(2, 2)), (seed, "paste", box(8, 8)), (seed, "protect", box(12, 12)))
        for seed in (1, 2)
    ]
    session.set_marks(moments[0])
    over = threading.Event()

    def mark() -> None:
        while not over.is_set():
            for document in moments:
                session.set_marks(document)

    def read() -> None:
        for _ in range(150):
            rule = session.draft.rule()
            assert len({region.latent.seed for region in (*rule.copy, rule.paste, *rule.protect)}) == 1
        over.set()

    at_once(mark, read)


def test_no_change_of_the_stack_is_lost_and_all_of_them_are_undone(session, impatient):
    session.set_marks(WHOLE)
    patch = rewrite(session).patch
    added, changed = MOST_RULES // THREADS, MOST_HISTORY // THREADS // 2

    def change(rules: Rules, thread: int) -> None:
        for number in range(added):
            rules.add(Entry(f"rule {thread} {number}", patch))
        for number in range(changed):
            rules.strengthen(0, (1 + thread + THREADS * number) / 1000)

    for _ in range(20):
        rules, undone = Rules(), 0
        at_once(*(partial(change, rules, thread) for thread in range(THREADS)))
        assert len({entry.name for entry in rules.entries}) == THREADS * added
        while rules.can_undo:
            rules.undo()
            undone += 1
        assert undone == THREADS * (added + changed)
        assert len(rules) == 0


def test_what_is_brushed_while_contexts_are_looked_for_stays(new_session):
    looking, go_on = threading.Event(), threading.Event()

    def label(images: torch.Tensor, numbers) -> np.ndarray:
        looking.set()
        assert go_on.wait(PATIENCE)
        labels = np.zeros((len(images), 16, 16), dtype=np.int64)
        labels[:, 4:8, 4:8] = 1
        return labels

    new_session.model.source = CallableSource(label, Concepts(("rest", "dome"), ("", "")))
    new_session.set_marks(brushed((1, "copy", box(2, 2))))

    def brush() -> None:
        assert looking.wait(PATIENCE)
        new_session.set_marks(brushed((1, "copy", box(2, 2)), (2, "paste", box(8, 8)), (3, "context", box(12, 12))))
        go_on.set()

    at_once(lambda: find(new_session, "dome"), brush)
    draft = new_session.draft
    assert len(draft.regions("paste")) == 1
    assert len(draft.regions("context")) == len(draft.seeds) + 1


def test_stop_ends_the_work_that_was_begun_before_it_and_no_other(new_session):
    new_session.set_marks(WHOLE)
    new_session.model.memory(new_session.draft.layer)
    stopped = [new_session.begin(), new_session.begin()]
    new_session.stop()
    later = new_session.begin()
    for work in stopped:
        with pytest.raises(Stopped):
            work.solve(new_session.draft.rule())
    assert later.solve(new_session.draft.rule()).rank > 0


def test_work_keeps_to_the_model_that_it_was_begun_on(session):
    session.set_marks(WHOLE)
    draft, work = session.draft, session.begin()
    session.open("towers")
    work.rewrite(draft.rule())
    assert len(work.rules) == 1
    assert (len(session.rules), session.draft.marks) == (0, ())


def test_sessions_at_once_get_the_rules_of_their_own_marks(new_session):
    sessions = [begun(new_session.models) for _ in range(4)]
    view = built(RewriteTab, new_session.models).view
    documents = [
        brushed(*[(mark["seed"] + number % 2, mark["role"], mark["runs"]) for mark in WHOLE["marks"]])
        for number in range(4)
    ]

    def use(one: Session, document: dict) -> Any:
        one.set_marks(document)
        list(Pricing(view).on_price(one))
        list(RulePanel(view).on_rewrite(one, document))
        list(Pricing(view).on_figures(one))
        return one.rules.entry(0)

    entries = at_once(*(partial(use, *pair) for pair in zip(sessions, documents, strict=True)))
    for number, entry in enumerate(entries):
        assert entry.rule.paste.latent.seed == 2 + number % 2
        assert torch.equal(entry.patch.left, entries[number % 2].patch.left)
    assert len({entry.rule.to_json() for entry in entries}) == 2


PASTED = brushed((1, "copy", box(2, 2)), (2, "paste", box(8, 8)))
WRONG = brushed((1, "context", box(2, 2)), (2, "context", box(8, 8)))


def test_handlers_that_answer_at_once_do_so_while_another_session_works(cache):
    session = begun(Models(Options("towers", samples=30, tiles=2)))
    session.set_marks(PASTED)
    rewrite(session)
    other, state = begun(session.models), UnitsState("b32.conv0")
    tab, units = built(RewriteTab, session.models), built(UnitsTab, session.models)
    marking, view, about = Marking(tab.view), tab.view, built(ModelTab, session.models)
    exporting, artifacts = built(ExportTab, session.models), built(ArtifactsTab, session.models)
    with Busy(session):
        (shown,) = in_time(lambda: list(marking.on_marks(other, PASTED)))
        assert shown[view.rewrite]["interactive"]
        assert other.draft.rule().model == session.draft.rule().model
        assert "proposed" in in_time(lambda: marking.on_choices(other, "paste", "", 0.5, None, True))[view.why]
        assert "GiB of memory" in in_time(lambda: about.on_select(other))[about.cost]
        in_time(other.stop)
        assert in_time(lambda: units.on_concept(other, state, "tree"))[units.grid]["effects"] == []
        assert "Measure effects" in in_time(lambda: units.on_stop(other, state))[units.status]
        assert in_time(lambda: exporting.on_plan(other, "trees", ["rule"]))[exporting.plan] == ""
        told = in_time(lambda: artifacts.on_marks(other, Brushed(), WRONG))[artifacts.status]
        assert "Marked in 2 images" in told
        in_time(other.release)
    list(RulePanel(view).on_rewrite(other, PASTED))
    assert len(other.rules) == 1


def test_a_measured_layer_is_known_while_the_patches_of_another_session_hold(new_session):
    new_session.set_marks(WHOLE)
    entry = rewrite(new_session)
    restarted = Session(Models(new_session.models.options))
    restarted.rules.add(entry)
    with Busy(restarted):
        assert restarted.model.generator.fingerprint != restarted.model.fingerprint
        assert restarted.model.measured(entry.patch.layer)


def test_the_handlers_that_are_registered_to_answer_at_once_are_those_that_are_tested(session):
    from apps.editor.page import build

    page = made(lambda: build(session.models, Path()))
    found = {each.api_name for each in page.fns.values() if each.concurrency_id == AT_ONCE.name}
    tested = {"rule_marks", "rule_choices", "units_concept", "units_stop", "model_select", "export_plan"}
    tested |= {"artifacts_marks"}
    # These read a folder, or press Stop.
    stops = {f"{tab}_stop" for tab in ("artifacts", "export", "model", "photograph", "rule")}
    assert found == tested | {"model_look", "model_stop_opening"} | stops
