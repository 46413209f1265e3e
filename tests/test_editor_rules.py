"""The stack of rules of a session: strengths, order, steps back, requests of the page, and what is measured of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from apps.editor.cache import Cache
from apps.editor.frame import hint, message, progress
from apps.editor.guide import status
from apps.editor.measured import COUNT, card, measuring
from apps.editor.model_tab import described
from apps.editor.rewrite_tab import RewriteTab
from apps.editor.rule_list import read_rule_requests
from apps.editor.rule_panel import RulePanel
from apps.editor.session import Session
from apps.editor.stack import MOST_RULES, Entry, Rules
from dissect.sources.contract import CallableSource
from rewrite import Rule, Settings
from rewrite.reports.concepts import Concepts
from tests.editing import WHOLE, box, brushed, rewrite
from tests.editors import built
from tests.markup import HOSTILE, assert_shown_as_text
from tests.networks import marked_rule


def reported(work, entries, first_seed):
    """The report of a measurement, whatever it says meanwhile."""
    steps = measuring(work, entries, first_seed)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def measure_rules(session: Session, entries):
    return reported(session.begin(), entries, max(session.draft.seeds) + 1)


def test_strength_order_and_names_do_not_ask_for_a_new_solution(session, monkeypatch):
    session.set_marks(WHOLE)
    rewrite(session)
    monkeypatch.setattr("apps.editor.work.solve", None)
    session.rules.strengthen(0, 0.4)
    with session.rules.entries[0].patch.applied(session.model.generator, 0.4):
        expected = session.model.generator.sample(session.draft.seeds)
    torch.testing.assert_close(session.after(), expected, atol=1e-5, rtol=0)
    session.rules.strengthen(0, 0.0)
    assert torch.equal(session.after(), session.before())


def test_a_rule_that_is_off_changes_nothing_and_the_order_of_rules_neither(session):
    session.set_marks(WHOLE)
    rewrite(session)
    alone = session.after()
    session.choose(layer="b8.conv1")
    rewrite(session)
    both = session.after()
    assert not torch.equal(alone, both)
    session.rules.move(1, 0)
    assert next(entry.patch.layer for entry in session.rules.entries) == "b8.conv1"
    assert torch.equal(session.after(), both)
    session.rules.switch(0, False)
    torch.testing.assert_close(session.after(), alone, atol=1e-6, rtol=0)


def test_every_change_of_the_stack_is_undone_and_redone(session):
    session.set_marks(WHOLE)
    rewrite(session)
    rules = session.rules
    changes = [
        lambda: rules.switch(0, False),
        lambda: rules.strengthen(0, 0.3),
        lambda: rules.rename(0, "trees for tops"),
        lambda: rewrite(session),
        lambda: rules.move(1, 0),
        lambda: rules.delete(0),
    ]
    stacks = [rules.entries]
    for change in changes:
        change()
        stacks.append(rules.entries)
    for stack in reversed(stacks[:-1]):
        rules.undo()
        assert rules.entries == stack
    for stack in stacks[1:]:
        rules.redo()
        assert rules.entries == stack
    assert not rules.can_redo
    rules.undo()
    rules.rename(0, "another way")
    assert not rules.can_redo


def test_a_slider_that_moves_is_one_step_to_undo(session):
    session.set_marks(WHOLE)
    rewrite(session)
    for strength in (0.9, 0.7, 0.5):
        session.rules.strengthen(0, strength, keep=False)
    session.rules.strengthen(0, 0.5)
    session.rules.undo()
    assert session.rules.entries[0].strength == 1
    session.rules.undo()
    assert len(session.rules) == 0


def test_undoing_everything_gives_the_first_images_bit_for_bit(session):
    before = session.before().clone()
    fingerprint = session.model.generator.fingerprint
    session.set_marks(WHOLE)
    rewrite(session)
    session.after()
    session.rules.undo()
    assert torch.equal(session.after(), before)
    assert session.model.generator.fingerprint == fingerprint


def test_a_saved_rule_gives_the_same_patch_in_another_session(session, tmp_path):
    session.set_marks(WHOLE)
    entry = rewrite(session)
    session.rules.rename(0, "from a file")
    session.rules.entry(0).saved().save(tmp_path / "rule.json")
    other = Session(session.models)
    loaded = other.begin().rewrite(Rule.load(tmp_path / "rule.json"))
    assert loaded.name == "from a file"
    assert torch.equal(loaded.patch.left, entry.patch.left)
    assert torch.equal(loaded.patch.right, entry.patch.right)
    assert other.show_rule(0)
    assert {(mark.role, mark.seed) for mark in other.draft.marks} == {
        (mark.role, mark.seed) for mark in session.draft.marks
    }


def test_a_loaded_rule_with_weights_of_its_own_stands_beside_one_whose_marks_chose_them(session, files):
    given = marked_rule(files["model"], settings=Settings(damage=0.5, rank=2))
    session.set_marks(WHOLE)
    session.choose(layer=given.layer)
    chosen = rewrite(session)
    view = built(RewriteTab, session.models).view
    *_, shown = RulePanel(view).on_load(session, given.to_json().encode())
    assert "is on the stack" in shown[view.status]
    loaded = session.rules.entry(1)
    assert loaded.rule == given
    assert loaded.patch.layer == chosen.patch.layer
    both = session.after()
    # The marks of the loaded rule are on the wall now: rewritten, they choose weights as any marks do.
    assert rewrite(session).rule.settings.drift != given.settings.drift
    for _ in range(3):
        session.rules.undo()
    assert torch.equal(session.after(), session.before())
    for _ in range(2):
        session.rules.redo()
    assert torch.equal(session.after(), both)


def test_lines_on_a_page_show_names_as_text():
    assert message("<b>.pt is open") == '<p role="status">&lt;b&gt;.pt is open</p>\n'
    assert hint("Folders: <b>") == '<p class="soft">Folders: &lt;b&gt;</p>\n'


def test_the_stack_is_bounded(session):
    session.set_marks(WHOLE)
    entry = rewrite(session)
    rules = Rules()
    for _ in range(MOST_RULES):
        rules.add(entry)
    with pytest.raises(ValueError, match="delete one first"):
        rules.add(entry)


def test_requests_are_done_once_and_in_order():
    requests = [
        {"do": "rename", "index": 0, "to": "b", "turn": 3},
        {"do": "undo", "turn": 2},
        {"do": "redo", "turn": 1},
    ]
    assert [request.do for request in read_rule_requests({"requests": requests}, 1)] == ["undo", "rename"]
    assert read_rule_requests({"requests": requests}, 3) == []


def test_what_was_asked_of_the_rules_of_one_model_is_not_done_to_those_of_the_next(session, files):
    panel = RulePanel(built(RewriteTab, session.models).view)
    delete = {"do": "delete", "index": 0, "turn": 1}
    session.set_marks(WHOLE)
    rewrite(session)
    panel.on_requests(session, {"requests": [delete]})
    session.open(files["model"].name)
    session.set_marks(WHOLE)
    rewrite(session)
    # The page sends its last requests again with each new one.
    weaker = {"do": "strength", "index": 0, "to": 0.5, "turn": 2}
    panel.on_requests(session, {"requests": [delete, weaker]})
    assert [entry.strength for entry in session.rules.entries] == [0.5]


def test_what_was_asked_for_least_lately_is_forgotten():
    kept = Cache(2)
    for key in "abac":
        kept.get(key, lambda key=key: key.upper())
    assert "a" in kept
    assert "b" not in kept
    assert kept.get("a", lambda: "made anew") == "A"


def halves(images: torch.Tensor, numbers) -> np.ndarray:
    """The left half of an image is a dome, whatever it shows; a column of it has no name."""
    labels = np.zeros((len(images), 16, 16), dtype=np.int64)
    labels[:, :, :8] = (images.mean(dim=(1, 2, 3)) > 0).long().numpy()[:, None, None] + 1
    labels[:, :, 0] = -1
    return labels


def test_a_rule_says_by_concept_what_it_does_where_the_source_can_tell(new_session):
    def corners(images: torch.Tensor, numbers) -> np.ndarray:
        labels = np.zeros((len(images), 16, 16), dtype=np.int64)
        labels[:, 2:6, 2:6], labels[:, 8:12, 8:12] = 1, 2
        return labels

    new_session.model.source = CallableSource(corners, Concepts.of(("rest", "tree", "dome")))
    new_session.set_marks(brushed((1, "copy", box(2, 2)), (2, "paste", box(8, 8)), (40, "context", box(8, 8))))
    entry = rewrite(new_session)
    assert entry.rule.effect == {"from": ["dome"], "to": "tree"}
    assert Rule.from_json(entry.patch.rules[0]) == entry.rule
    told = card(measure_rules(new_session, [entry]))
    assert 0 < told.index("Changed elsewhere, strict") < told.index("Changed elsewhere, lenient")


def test_rules_are_measured_on_images_that_none_of_them_uses(new_session):
    new_session.set_marks(WHOLE)
    rewrite(new_session)
    report = measure_rules(new_session, new_session.rules.entries)
    used = {1, 2, 3, 4, *new_session.draft.seeds}
    assert len(report.effect.seeds) == COUNT
    assert not used & set(report.effect.seeds)
    assert "Arrived at the marks" in card(report)
    assert "strict" not in card(report)
    new_session.model.source = CallableSource(halves, Concepts.of(("right", "dark", "light")))
    named = measure_rules(new_session, new_session.rules.entries)
    assert named.concepts == ("right", "dark", "light")
    assert named.effect.counts.outside.sum() == COUNT * 16 * 16
    assert "No concept stands out under the marks" in card(named)
    # Units that are off answer no rule: there are no marks to speak of.
    unmarked = Entry("units off", replace(new_session.rules.entries[0].patch, rules=()))
    told = card(measure_rules(new_session, [unmarked]))
    assert "Pixels that changed" in told
    assert "marks" not in told
    with pytest.raises(ValueError, match="no rule that is on"):
        measure_rules(new_session, [])


def test_names_of_concepts_are_text_on_the_page(new_session):
    new_session.model.source = CallableSource(halves, Concepts.of([f"{HOSTILE} {number}" for number in range(3)]))
    new_session.set_marks(WHOLE)
    rewrite(new_session)
    assert_shown_as_text(card(measure_rules(new_session, new_session.rules.entries)))
    assert_shown_as_text(described(new_session))
    assert_shown_as_text(status(new_session.draft, HOSTILE))
    assert_shown_as_text(progress(0.5, HOSTILE))
