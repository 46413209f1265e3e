"""What the marks of a session choose, what caution and rank make of it, and the price that is told."""

import math
from dataclasses import replace

import pytest
import torch

from apps.editor.choices import careful
from apps.editor.frame import STOPPED, reporting
from apps.editor.price import Price
from apps.editor.price import card as price_card
from apps.editor.pricing import Pricing
from apps.editor.rewrite_tab import RewriteTab
from apps.editor.rule_panel import RulePanel
from rewrite import Rule, Settings, load_generator, measure, solve
from rewrite.solvers import solving
from tests.editing import WHOLE, box, brushed, rewrite
from tests.editors import built


def test_caution_weighs_everything_that_speaks_against_a_change():
    usual = Settings(quiet=3.0)
    bold = careful(usual, -1)
    for name in ("damage", "drift", "others", "quiet"):
        assert math.isclose(getattr(bold, name), getattr(usual, name) / 10)


def test_more_caution_costs_less_elsewhere(session):
    session.set_marks(WHOLE)
    damages = []
    for caution in (-1.0, 0.0, 1.0):
        session.choose(caution=caution)
        damages.append(session.begin().solve(session.draft.rule(), caution).forecast["damage"])
    assert damages == sorted(damages, reverse=True)


@pytest.fixture
def choices(monkeypatch) -> list:
    """The choices of weights that were made meanwhile."""
    made, choose = [], solving._chosen

    def kept(*given):
        found = choose(*given)
        made.append(found[1])
        return found

    monkeypatch.setattr(solving, "_chosen", kept)
    return made


def test_caution_and_rank_leave_the_weights_that_the_marks_chose_as_they_are_or_multiply_them(new_session, choices):
    new_session.set_marks(WHOLE)
    for caution, rank in ((0.0, None), (1.0, None), (-0.5, None), (0.0, 3), (1.0, 3)):
        new_session.choose(caution=caution, rank=rank)
        entry = rewrite(new_session)
        (choice,) = choices
        for name in ("damage", "drift", "others", "quiet"):
            assert math.isclose(getattr(entry.rule.settings, name), getattr(choice.settings, name) * 10**caution)
        assert entry.rule.settings.rank == rank
        assert entry.patch.rank <= (rank or entry.patch.rank)
    new_session.set_marks(brushed(*[(mark["seed"] + 1, mark["role"], mark["runs"]) for mark in WHOLE["marks"]]))
    rewrite(new_session)
    assert len(choices) == 2


def test_what_is_expected_where_nobody_marked_is_told_at_every_caution_and_rank(session):
    session.set_marks(WHOLE)
    told = {}
    for caution, rank in ((0.0, None), (1.5, None), (0.0, 2)):
        session.choose(caution=caution, rank=rank)
        patch = session.begin().solve(session.draft.rule(), caution)
        told[caution, rank] = patch.forecast["left_out"]
    assert told[0.0, 2]["arrives"] == pytest.approx(told[0.0, None]["arrives"], abs=0.1)
    assert told[1.5, None]["beside"] < told[0.0, None]["beside"]
    view = built(RewriteTab, session.models).view
    *_, shown = Pricing(view).on_price(session)
    assert "would be gone where you did not mark" in shown[view.status]
    assert "Arrives where you did not mark" in shown[view.price]
    session.set_marks(brushed((1, "copy", box(2, 2)), (2, "paste", box(8, 8)), (3, "context", box(8, 4))))
    *_, shown = Pricing(view).on_price(session)
    assert "not known yet: mark three images or more. Better with" in shown[view.status]
    assert "too few images are marked" in shown[view.price]


@pytest.mark.parametrize(
    "choice", [{"refine": True}, {"caution": 0.7}, {"rank": 2}, {"caution": -1, "rank": 3, "refine": True}], ids=str
)
def test_a_rule_of_the_editor_replays_bit_for_bit_from_its_file_whatever_was_chosen(session, tmp_path, choice):
    session.set_marks(WHOLE)
    session.choose(**choice)
    entry = rewrite(session)
    view = built(RewriteTab, session.models).view
    *_, shown = RulePanel(view).on_save_marks(session, WHOLE)
    generator = load_generator(session.model.name)
    for text in (entry.saved().to_json(), shown[view.rules]["file"]["text"]):
        rule = Rule.from_json(text)
        assert rule.settings.weights == "given"
        patch = solve(generator, measure(generator, rule.layer, 30), rule)
        assert torch.equal(patch.left, entry.patch.left)
        assert torch.equal(patch.right, entry.patch.right)


def test_a_choice_that_is_stopped_leaves_nothing_and_rewrite_makes_it_later(new_session, monkeypatch):
    new_session.set_marks(WHOLE)
    new_session.model.memory(new_session.draft.layer)
    panel, told = RulePanel(built(RewriteTab, new_session.models).view), []
    with monkeypatch.context() as patched:
        patched.setattr("apps.editor.work.BETWEEN_REPORTS", 0.001)
        for shown in reporting(panel.on_rewrite, panel.view.show_status)(new_session, WHOLE):
            told.append(shown[panel.view.status])
            if "left out" in told[-1]:
                new_session.stop()
    assert "by marked images that are left out" in told[-2]
    assert STOPPED in told[-1]
    assert len(new_session.rules) == 0
    assert new_session.solved(new_session.draft) is None
    list(panel.on_rewrite(new_session, WHOLE))
    assert len(new_session.rules) == 1


@pytest.mark.parametrize(
    "choice",
    [
        {"action": "explode"},
        {"rank": 0},
        {"rank": 10**9},
        {"caution": math.nan},
        {"caution": 50},
        {"layer": "../../etc"},
    ],
    ids=str,
)
def test_choices_out_of_range_are_refused(session, choice):
    before = session.draft.choices
    with pytest.raises((ValueError, LookupError)):
        session.choose(**choice)
    assert session.draft.choices == before


def test_the_price_is_told_where_nobody_marked_first_and_what_a_reader_should_know(session):
    session.set_marks(WHOLE)
    patch = session.begin().solve(session.draft.rule())
    left_out = {
        "arrives": 0.3,
        "beside": 0.1,
        "each": [0.2, 0.4],
        "drawn": {"arrives": 0.12, "strays": 0.05, "each": []},
    }
    price = Price.of(replace(patch, forecast={**patch.forecast, "left_out": left_out, "notes": ["mind this"]}), 0.0)
    shown = price_card(price)
    names = ("Arrives where you did not mark", "Layer, where you did not mark", "Arrives at the marks")
    places = [shown.index(name) for name in names]
    assert places == sorted(places)
    assert "12 %" in shown
    assert "20 % to 40 %" in shown
    assert "</strong> mind this." in shown
    # What arrives at the marks, which may be much, does not make it a good one.
    assert "Little of it would arrive" in shown
    unknown = price_card(Price.of(replace(patch, forecast={**patch.forecast, "left_out": None}), 0.0))
    assert "too few images are marked" in unknown
    assert names[0] not in unknown


def test_the_proposed_rank_keeps_nearly_all_of_the_change(session):
    session.set_marks(WHOLE)
    tab = built(RewriteTab, session.models)
    *_, shown = Pricing(tab.view).on_propose_rank(session)
    rank, full = shown[tab.view.rank], session.begin().solve(session.draft.rule().with_settings(rank=None))
    assert session.draft.choices.rank == rank < full.rank
    kept = session.begin().solve(session.draft.rule())
    layer = session.model.generator.layer(session.draft.layer)
    change, cut = full.change(layer).flatten(), kept.change(layer).flatten()
    assert float((cut @ change) / change.square().sum()) > 0.85
