"""The generator of an editor is one: who works with it lends it, and what one solved the others have."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from apps.editor import model as model_module
from apps.editor.cache import Cache
from apps.editor.pricing import Pricing
from apps.editor.rewrite_tab import RewriteTab
from apps.editor.rule_panel import RulePanel
from apps.editor.session import Session
from apps.editor.turns import Turns
from rewrite.solvers import solving
from tests.at_once import PATIENCE, at_once, in_time
from tests.editing import WHOLE, brushed, rewrite
from tests.editors import built

THREADS = 4


def test_the_same_rule_is_solved_once_for_two_that_ask_at_once(new_session, monkeypatch):
    from apps.editor import work as module

    solutions, solve = [], module.solve

    def counted(*given: Any, **named: Any) -> Any:
        solutions.append(given)
        return solve(*given, **named)

    monkeypatch.setattr(module, "solve", counted)
    new_session.set_marks(WHOLE)
    rule = new_session.draft.rule()
    one, other = at_once(*[lambda: new_session.begin().solve(rule)] * 2)
    assert one is other
    assert len(solutions) == 1


def test_a_press_of_rewrite_uses_the_weights_that_are_being_chosen_for_the_price(new_session, monkeypatch):
    choosing, go_on, choices, choose = threading.Event(), threading.Event(), [], solving._chosen

    def slowly(*given: Any) -> Any:
        choosing.set()
        assert go_on.wait(PATIENCE)
        choices.append(choose(*given))
        return choices[-1]

    monkeypatch.setattr(solving, "_chosen", slowly)
    new_session.set_marks(WHOLE)
    view = built(RewriteTab, new_session.models).view

    def press() -> None:
        assert choosing.wait(PATIENCE)
        threading.Timer(0.2, go_on.set).start()
        list(RulePanel(view).on_rewrite(new_session, WHOLE))

    prices, _ = at_once(lambda: list(Pricing(view).on_price(new_session)), press)
    assert "Arrives where you did not mark" in prices[-1][view.price]
    assert len(choices) == len(new_session.rules) == 1


def test_a_memory_lends_the_generator_while_it_is_measured_and_is_measured_once(new_session, monkeypatch):
    layer, other, measured, lent = new_session.draft.layer, Session(new_session.models), [], []
    memory_of, begun = model_module.memory_of, threading.Event()

    def slowly(*given: Any, on_progress: Callable[[int], object]) -> Any:
        measured.append(given)

        def step(images: int) -> None:
            begun.set()
            while not new_session.model.lock.waiting and not lent:
                pass
            on_progress(images)

        return memory_of(*given, on_progress=step)

    monkeypatch.setattr(model_module, "memory_of", slowly)

    def ask() -> Any:
        assert begun.wait(PATIENCE)
        lent.append(other.model.images((5,)))
        with other.model.lock:
            return other.model.memory(layer)

    one, same = at_once(lambda: new_session.model.memory(layer), ask)
    assert one is same
    assert len(measured) == 1


def test_a_choice_lends_the_generator_to_those_who_wait_and_comes_to_the_same_answer(session, monkeypatch):
    session.set_marks(WHOLE)
    expected = rewrite(session)
    session.model.patches = Cache()
    other, begun, choose = Session(session.models), threading.Event(), solving._chosen
    other.set_marks(WHOLE)
    drawn, ended = [], []

    def eagerly(*given: Any) -> Any:
        begun.set()
        # Until the thread that draws waits for its turn.
        while not session.model.lock.waiting:
            pass
        return choose(*given)

    monkeypatch.setattr(solving, "_chosen", eagerly)

    def draw() -> None:
        assert begun.wait(PATIENCE)
        with session.model.holding(session.rules.held) as generator:
            drawn.append(generator.sample(session.draft.seeds))
        ended.append(other.solved(other.draft))

    entry, _ = at_once(lambda: rewrite(other), draw)
    assert ended == [None]
    torch.testing.assert_close(drawn[0], session.after(), atol=1e-5, rtol=0)
    assert torch.equal(entry.patch.left, expected.patch.left)
    assert session.model.generator.fingerprint == session.model.fingerprint


def test_a_lock_is_lent_to_one_after_the_other_and_given_back_as_often_as_it_was_taken(impatient):
    lock, held, lent = Turns(), [], []

    def work(number: int) -> None:
        for _ in range(200):
            with lock, lock:
                held.append(number)
                assert len(held) == 1
                held.remove(number)
                lock.lend()
                held.append(number)
                assert len(held) == 1
                held.remove(number)
                lent.append(number)

    at_once(*(partial(work, number) for number in range(THREADS)))
    assert len(lent) == 200 * THREADS
    in_time(lambda: lock.__enter__().__exit__())


def test_marks_that_change_end_the_price_of_those_before_and_a_slider_does_not(new_session, monkeypatch):
    new_session.set_marks(WHOLE)
    new_session.model.memory(new_session.draft.layer)
    view = built(RewriteTab, new_session.models).view
    monkeypatch.setattr("apps.editor.work.BETWEEN_REPORTS", 0.001)

    def priced(change: Callable[[], Any]) -> list[Any]:
        shown, steps = [], Pricing(view).on_price(new_session)
        for step in steps:
            if not shown:
                change()
            shown.append(step)
        return shown

    before = new_session.draft
    moved = [(mark["seed"] + 1, mark["role"], mark["runs"]) for mark in WHOLE["marks"]]
    assert all(view.price not in shown for shown in priced(lambda: new_session.set_marks(brushed(*moved))))
    assert new_session.solved(before) is new_session.solved(new_session.draft) is None
    priced(lambda: new_session.choose(caution=0.5, rank=2))
    new_session.choose(caution=0.0, rank=None)
    assert new_session.solved(new_session.draft) is not None
