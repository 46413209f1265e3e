"""The state of one browser session: marks, rules, exports; all of it without a page."""

import copy
import math
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.editor.cache import Cache
from apps.editor.choices import careful
from apps.editor.contexts import find_regions
from apps.editor.exports import Export, names_of, slug
from apps.editor.frame import STOPPED, hint, message, progress, reporting
from apps.editor.guide import status
from apps.editor.heat import ORDINARY, Heat
from apps.editor.marks import documents, marks_of, mask_side, read_marks
from apps.editor.measured import COUNT, card, measuring
from apps.editor.model_tab import described
from apps.editor.models import Models
from apps.editor.options import MOST_TILES, Options
from apps.editor.price import Price
from apps.editor.price import card as price_card
from apps.editor.pricing import Pricing
from apps.editor.proposal_list import read_answers
from apps.editor.proposing import Proposing
from apps.editor.rewrite_tab import RewriteTab
from apps.editor.rule_list import read_rule_requests
from apps.editor.rule_panel import RulePanel
from apps.editor.session import Session
from apps.editor.stack import MOST_RULES, Entry, Rules
from apps.editor.work import Stopped
from dissect.sources.contract import CallableSource
from rewrite import Mask, Rule, Search, Settings, load_generator, measure, solve
from rewrite.memory import Memory
from rewrite.reports.concepts import Concepts
from rewrite.solvers import solving
from tests.conftest import marked_rule
from tests.editors import built
from tests.markup import HOSTILE, assert_shown_as_text


@pytest.fixture
def models(files, cache) -> Models:
    folder = files["model"].parent
    return Models(Options(str(files["model"]), folders=(folder,), segmenter="none", samples=30, tiles=6))


@pytest.fixture
def session(models) -> Session:
    return begun(models)


def begun(models: Models) -> Session:
    """A session that leaves copied values as they are: adjusting them takes half of the time of a solution."""
    session = Session(models)
    session.choose(refine=False)
    return session


def reported(work, entries, first_seed):
    """The report of a measurement, whatever it says meanwhile."""
    steps = measuring(work, entries, first_seed)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def rewrite(session: Session) -> Entry:
    """Solve the rule of the marks, and put it on the stack."""
    return session.begin().rewrite(session.draft.rule_with_effect("rule"), session.draft.choices.caution)


def find(session: Session, concept: str, further: int = 0) -> int:
    """Mark a concept as context; how many places there are."""
    found = find_regions(session.begin(), session.draft, concept, further)
    session.add_contexts(*found)
    return sum(map(len, found))


def measure_rules(session: Session, entries):
    return reported(session.begin(), entries, max(session.draft.seeds) + 1)


def box(top: int, left: int, size: int = 4, side: int = 16) -> list[list[int]]:
    return [[row * side + left, size] for row in range(top, top + size)]


def brushed(*marks: tuple[int, str, list]) -> dict:
    return {"marks": [{"seed": seed, "role": role, "runs": runs} for seed, role, runs in marks], "heat": False}


WHOLE = brushed((1, "copy", box(2, 2)), (2, "paste", box(8, 8)), (3, "context", box(8, 4)), (4, "context", box(4, 8)))


def test_what_is_still_missing_is_said_step_by_step(session):
    assert session.draft.missing.startswith("Brush what you want more of")
    session.set_marks(brushed((1, "copy", box(2, 2))))
    assert session.draft.missing.startswith("Brush where it shall go")
    session.set_marks(brushed((1, "copy", box(2, 2)), (2, "paste", box(8, 8))))
    assert session.draft.missing == ""
    assert session.draft.advice.startswith("Better with 3 or more contexts")
    with pytest.raises(ValueError, match="what you want more of"):
        Session(session.models).draft.rule()


def test_erasing_needs_no_copy(session):
    session.choose(action="erase")
    session.set_marks(brushed((2, "context", box(8, 8))))
    assert session.draft.missing == ""
    rule = session.draft.rule()
    assert (rule.action, rule.copy, len(rule.context)) == ("erase", (), 1)
    rewrite(session)
    assert not torch.equal(session.after(), session.before())


def test_marks_become_the_rule_that_the_library_solves(session):
    session.set_marks(WHOLE)
    entry = rewrite(session)
    assert [region.latent.seed for region in entry.rule.context] == [3, 4]
    assert entry.rule.paste.latent.seed == 2
    assert entry.rule.copy[0].mask.array()[2:6, 2:6].all()
    generator = load_generator(session.model.name)
    expected = solve(generator, measure(generator, entry.rule.layer, 30), entry.rule)
    assert torch.equal(entry.patch.left, expected.left)
    with expected.applied(generator):
        torch.testing.assert_close(session.after(), generator.sample(session.draft.seeds), atol=1e-5, rtol=0)


def test_a_rule_names_the_model_while_the_patches_of_another_session_hold(session):
    session.set_marks(WHOLE)
    rewrite(session)
    other = Session(session.models)
    other.set_marks(WHOLE)
    with session.model.holding(session.rules.held):
        assert other.draft.rule().model == load_generator(session.model.name).fingerprint


def test_what_a_session_lets_go_of_is_made_again_and_its_rules_stay(session):
    session.set_marks(WHOLE)
    entry, shown = rewrite(session), session.after()
    session.release()
    session.model.patches = Cache()
    assert session.solved(session.draft) is None
    assert torch.equal(session.after(), shown)
    assert torch.equal(rewrite(session).patch.left, entry.patch.left)


def test_separate_parts_of_one_mark_are_separate_places(session):
    session.set_marks(brushed((1, "copy", box(2, 2)), (3, "context", sorted(box(1, 1) + box(1, 10)))))
    assert len(session.draft.rule().context) == 2


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


def test_two_sessions_of_one_server_never_see_each_other(models):
    one, other = begun(models), copy.deepcopy(begun(models))
    one.set_marks(WHOLE)
    rewrite(one)
    assert one.model is other.model
    assert (other.draft.marks, len(other.rules)) == ((), 0)
    assert torch.equal(other.after(), other.before())
    with pytest.raises(ValueError, match="there is no rule 1"):
        other.rules.delete(0)


def test_the_marks_of_one_session_are_solved_once_for_all_and_each_rule_keeps_its_own_name(models, monkeypatch):
    one, other = begun(models), begun(models)
    for session in (one, other):
        session.set_marks(WHOLE)
    entry = rewrite(one)
    monkeypatch.setattr("apps.editor.work.solve", None)
    found = other.begin().rewrite(other.draft.rule_with_effect("of another"))
    assert torch.equal(found.patch.left, entry.patch.left)
    assert [Rule.from_json(each.patch.rules[0]).name for each in (entry, found)] == ["rule", "of another"]


def test_sessions_that_work_at_once_get_their_own_images(models):
    sessions = [begun(models) for _ in range(4)]
    for number, session in enumerate(sessions):
        session.set_marks(WHOLE)
        rewrite(session)
        session.rules.strengthen(0, 0.25 * (number + 1))
    expected = [session.after() for session in sessions]
    wrong = []

    def draw(session: Session, images: torch.Tensor) -> None:
        wrong.extend(number for number in range(10) if not torch.equal(session.after(), images))

    threads = [threading.Thread(target=draw, args=pair) for pair in zip(sessions, expected)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


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


def test_a_rule_of_another_model_is_refused(session, files):
    rule = marked_rule(files["model"])
    with pytest.raises(ValueError, match="written on model"):
        session.begin().rewrite(replace(rule, model="0" * 16))
    assert len(session.rules) == 0


def test_the_marks_of_a_rule_come_back_as_they_were_brushed(session):
    session.set_marks(WHOLE)
    assert set(marks_of(session.draft.rule(), 16)) == set(session.draft.marks)
    assert set(read_marks({"marks": documents(session.draft.marks)}, 16)) == set(session.draft.marks)


def test_a_rule_on_more_images_than_the_wall_holds_keeps_its_marks_to_itself(session):
    regions = tuple(
        replace(session_region, latent=replace(session_region.latent, seed=seed))
        for seed in range(30)
        for session_region in [marked_rule(Path(session.model.name)).context[0]]
    )
    session.begin().rewrite(marked_rule(Path(session.model.name), context=regions))
    assert not session.show_rule(0)
    assert session.draft.marks == ()


def test_contexts_are_found_by_concept_on_the_wall_and_beyond_it(session):
    def halves(images: torch.Tensor, numbers) -> np.ndarray:
        labels = np.zeros((len(images), 16, 16), dtype=np.int64)
        labels[:, 4:8, 4:8] = 1
        return labels

    session.model.source = CallableSource(halves, Concepts(("rest", "dome"), ("", "")))
    session.set_marks(brushed((1, "copy", box(2, 2))))
    assert find(session, "dome", 5) == len(session.draft.seeds) + 5
    rule = session.draft.rule()
    assert {region.latent.seed for region in rule.context} == set(session.draft.seeds) | set(range(10_000, 10_005))
    with pytest.raises(LookupError):
        find(session, "submarine")
    session.set_marks(brushed((1, "copy", box(2, 2)), (2, "paste", box(8, 8))))
    assert session.draft.rule().context == ()


def test_the_heat_follows_the_same_measure_as_the_search(session):
    session.set_marks(WHOLE)
    rule = session.draft.rule()
    heat = Heat.of(session.model, rule.layer)
    places = session.draft.regions("paste", "context")
    found = heat.maps(places, session.draft.seeds)
    memory = session.model.memory(rule.layer)
    expected = Search.of(session.model.generator, memory, rule, samples=ORDINARY).firing(session.draft.seeds)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 0.02


def test_the_paste_is_shown_on_the_marked_images_before_anything_is_solved(session):
    session.set_marks(WHOLE)
    found = session.begin().preview(session.draft.rule())
    assert set(found) == {2, 3, 4}
    assert float((found[2] - session.model.images((2,))[0]).abs().max()) > 0.01
    assert len(session.rules) == 0


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


def test_caution_and_rank_leave_the_weights_that_the_marks_chose_as_they_are_or_multiply_them(session, choices):
    session.set_marks(WHOLE)
    for caution, rank in ((0.0, None), (1.0, None), (-0.5, None), (0.0, 3), (1.0, 3)):
        session.choose(caution=caution, rank=rank)
        entry = rewrite(session)
        (choice,) = choices
        for name in ("damage", "drift", "others", "quiet"):
            assert math.isclose(getattr(entry.rule.settings, name), getattr(choice.settings, name) * 10**caution)
        assert entry.rule.settings.rank == rank
        assert entry.patch.rank <= (rank or entry.patch.rank)
    session.set_marks(brushed(*[(mark["seed"] + 1, mark["role"], mark["runs"]) for mark in WHOLE["marks"]]))
    rewrite(session)
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
    assert "would arrive where you did not mark" in shown[view.status]
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


def test_a_choice_that_is_stopped_leaves_nothing_and_rewrite_makes_it_later(session, monkeypatch):
    session.set_marks(WHOLE)
    session.model.memory(session.draft.layer)
    panel, told = RulePanel(built(RewriteTab, session.models).view), []
    with monkeypatch.context() as patched:
        patched.setattr("apps.editor.work.BETWEEN_REPORTS", 0.001)
        for shown in reporting(panel.on_rewrite, panel.view.show_status)(session, WHOLE):
            told.append(shown[panel.view.status])
            if "left out" in told[-1]:
                session.stop()
    assert "by marked images that are left out" in told[-2]
    assert STOPPED in told[-1]
    assert len(session.rules) == 0
    assert session.solved(session.draft) is None
    list(panel.on_rewrite(session, WHOLE))
    assert len(session.rules) == 1


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


def test_a_stopped_measurement_leaves_nothing_behind(session, cache):
    steps = session.begin().measuring("b8.conv1")
    session.stop()
    with pytest.raises(Stopped):
        for _ in steps:
            pass
    assert not session.model.measured("b8.conv1")
    assert list(cache.rglob("*.safetensors")) == []
    list(session.begin().measuring("b8.conv1"))
    assert isinstance(session.model.memory("b8.conv1"), Memory)


def test_a_stopped_solution_leaves_the_generator_as_it_was(session):
    fingerprint = session.model.generator.fingerprint
    session.set_marks(WHOLE)
    session.model.memory(session.draft.layer)
    work = session.begin()
    session.stop()
    with pytest.raises(Stopped):
        work.rewrite(session.draft.rule())
    assert len(session.rules) == 0
    assert session.model.generator.fingerprint == fingerprint
    rewrite(session)
    assert len(session.rules) == 1


def test_an_export_opens_again_with_the_same_images(session, tmp_path):
    session.set_marks(WHOLE)
    rewrite(session)
    session.rules.strengthen(0, 0.6)
    export = Export.of(
        session, tmp_path / "out", tmp_path / "private", "trees", ["checkpoint", "patch", "rule", "card"]
    )
    assert len(list(export.steps())) == 4
    assert sorted(path.name for path in export.written) == [
        "README.md",
        "trees-patch-1.safetensors",
        "trees-rule-1.json",
        "trees.safetensors",
    ]
    edited = load_generator(tmp_path / "out" / "trees" / "trees.safetensors")
    torch.testing.assert_close(edited.sample(session.draft.seeds), session.after(), atol=1e-5, rtol=0)


def test_an_export_says_beforehand_what_it_writes_and_what_it_replaces(session, tmp_path, monkeypatch):
    monkeypatch.setattr("apps.editor.work.BETWEEN_REPORTS", 1e-4)
    session.set_marks(WHOLE)
    rewrite(session)
    first = Export.of(session, tmp_path / "out", tmp_path / "private", "trees", ["card", "patch", "report"])
    assert first.replaced == []
    told = list(first.steps())
    assert any(re.search(r"Measuring on 100 new images: \d+ %", text) for text in told)
    planned = names_of(session.model.name, first.entries, "trees", first.kinds)
    assert sorted(path.name for path in first.written) == sorted(planned)
    again = Export.of(session, tmp_path / "out", tmp_path / "private", "trees", ["patch", "rule"])
    assert [path.name for path in again.replaced] == ["trees-patch-1.safetensors"]


@pytest.mark.parametrize(
    ("written", "name"),
    [("Trees on towers!", "Trees-on-towers"), ("  Bäume/neu ", "Baume-neu"), ("../up", "up"), ("東京", ""), (3, 3)],
)
def test_names_that_people_write_become_names_of_files(written, name):
    assert slug(written) == name


def test_a_stopped_export_writes_nothing(session, tmp_path):
    session.set_marks(WHOLE)
    rewrite(session)
    export = Export.of(session, tmp_path / "out", tmp_path / "private", "trees", ["checkpoint", "report"])
    steps = export.steps()
    next(steps)
    session.stop()
    with pytest.raises(Stopped):
        list(steps)
    assert not (tmp_path / "out").exists()


def test_lines_on_a_page_show_names_as_text():
    assert message("<b>.pt is open") == '<p role="status">&lt;b&gt;.pt is open</p>\n'
    assert hint("Folders: <b>") == '<p class="soft">Folders: &lt;b&gt;</p>\n'


def test_an_export_takes_names_and_never_paths(session, tmp_path):
    session.set_marks(WHOLE)
    rewrite(session)
    for name in ("../up", "/etc/passwd", "a/b", "", ".hidden", "x" * 61, "na\nme", None, 3, ["a"]):
        with pytest.raises(ValueError, match="a name has letters"):
            Export.of(session, tmp_path, tmp_path, name, ["rule"])


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "missing.pt", "..", "", "rule.json"])
def test_a_model_is_opened_only_from_the_folders_of_the_server(session, name):
    with pytest.raises(FileNotFoundError, match="may open no such model"):
        session.open(name)


def test_a_link_out_of_the_folder_is_not_followed(session, files, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "link.safetensors").symlink_to(files["memory"])
    session.models.options = replace(session.models.options, folders=(folder,))
    with pytest.raises(FileNotFoundError):
        session.open("link.safetensors")


def test_a_model_that_is_opened_again_keeps_its_marks_and_rules(session, files):
    session.set_marks(WHOLE)
    entry, marks = rewrite(session), session.draft.marks
    session.open(files["model"].name)
    assert (session.draft.marks, session.rules.entries, session.opened) == (marks, (entry,), 1)
    assert session.model.generator.fingerprint == load_generator(files["model"]).fingerprint


def test_a_file_that_holds_no_generator_is_refused_and_the_model_stays(session):
    model = session.model
    with pytest.raises(ValueError, match="memory"):
        session.open("memory.safetensors")
    assert session.model is model


def test_the_stack_is_bounded(session):
    session.set_marks(WHOLE)
    entry = rewrite(session)
    rules = Rules()
    for _ in range(MOST_RULES):
        rules.add(entry)
    with pytest.raises(ValueError, match="delete one first"):
        rules.add(entry)


PLACES = brushed((2, "paste", box(8, 8)), (3, "context", box(8, 4)), (4, "context", box(4, 8)))


@pytest.fixture
def proposing(models, session) -> Proposing:
    """The handlers of proposals, after a search that offered some."""
    proposing = Proposing(built(RewriteTab, models).view)
    *_, last = proposing.on_propose_contexts(session, PLACES)
    assert len(session.offers.waiting) > 6
    assert "accept or refuse them" in last[proposing.view.status]
    return proposing


def answers(*requests: tuple[str, int]) -> dict:
    return {
        "requests": [{"do": do, "index": index, "turn": turn} for turn, (do, index) in enumerate(requests, start=1)]
    }


def test_accepted_places_are_marks_and_their_images_join_the_wall(session, proposing):
    before = session.draft
    first, second, *_ = [each for each in session.offers.waiting if not each.marked]
    proposing.on_answers(session, answers(("accept", first.latent.seed), ("refuse", second.latent.seed)))
    draft = session.draft
    assert draft.seeds == (*before.seeds, first.latent.seed)
    assert set(draft.regions("paste", "context")) == {*before.regions("paste", "context"), *first.regions}
    assert not {first, second} & set(session.offers.waiting)
    # The page sends its last requests again with each new one.
    proposing.on_answers(session, answers(("accept", first.latent.seed), ("refuse", second.latent.seed)))
    assert session.draft == draft


def test_what_was_refused_is_not_offered_again(session, proposing):
    refused = session.offers.waiting[0]
    proposing.on_answers(session, answers(("refuse", refused.latent.seed)))
    waiting = session.offers.waiting
    list(proposing.on_propose_contexts(session, PLACES))
    assert session.offers.waiting == waiting
    assert refused not in waiting


def test_all_are_accepted_and_the_wall_shows_as_many_images_as_it_has_room_for(session, proposing):
    offered = session.offers.waiting
    proposing.on_answers(session, answers(("accept_all", 0)))
    assert session.offers.waiting == ()
    assert len(session.draft.seeds) == min(MOST_TILES, 6 + sum(not each.marked for each in offered))
    assert {mark.seed for mark in session.draft.marks} >= {each.latent.seed for each in offered}
    assert session.draft.places_alone().context[0] == session.draft.regions("paste")[0]


def test_proposals_end_with_the_model_that_they_are_of(session, proposing):
    offered = session.offers.waiting[0]
    session.open("towers")
    proposing.on_answers(session, answers(("accept", offered.latent.seed), ("accept_all", 0)))
    assert session.draft.marks == ()


def test_places_are_searched_for_without_a_copy_but_not_without_a_place(session):
    with pytest.raises(ValueError, match="Brush the place that is meant"):
        session.draft.places_alone()
    draft = session.set_marks(PLACES)
    assert draft.missing.startswith("Brush what you want more of")
    assert len(draft.places_alone().places) == 3


@pytest.mark.parametrize(
    "document",
    [None, {"requests": [{"do": "accept", "index": "3", "turn": 1}]}, {"requests": [{"do": "all", "turn": 1}]}],
)
def test_answers_that_make_no_sense_are_refused(document):
    with pytest.raises(ValueError, match=r"requests, as a list|named by its number|the page asks for"):
        read_answers(document, 0)


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


def test_masks_fit_images_of_any_size():
    assert [mask_side(size) for size in ((64, 64), (256, 256), (1024, 1024), (300, 300))] == [64, 256, 256, 150]
    Mask((mask_side((1024, 1024)),) * 2, ((0, 1),)).check_size((1024, 1024))


def halves(images: torch.Tensor, numbers) -> np.ndarray:
    """The left half of an image is a dome, whatever it shows; a column of it has no name."""
    labels = np.zeros((len(images), 16, 16), dtype=np.int64)
    labels[:, :, :8] = (images.mean(dim=(1, 2, 3)) > 0).long().numpy()[:, None, None] + 1
    labels[:, :, 0] = -1
    return labels


def test_a_rule_says_by_concept_what_it_does_where_the_source_can_tell(session):
    def corners(images: torch.Tensor, numbers) -> np.ndarray:
        labels = np.zeros((len(images), 16, 16), dtype=np.int64)
        labels[:, 2:6, 2:6], labels[:, 8:12, 8:12] = 1, 2
        return labels

    session.model.source = CallableSource(corners, Concepts.of(("rest", "tree", "dome")))
    session.set_marks(brushed((1, "copy", box(2, 2)), (2, "paste", box(8, 8)), (40, "context", box(8, 8))))
    entry = rewrite(session)
    assert entry.rule.effect == {"from": ["dome"], "to": "tree"}
    assert Rule.from_json(entry.patch.rules[0]) == entry.rule
    told = card(measure_rules(session, [entry]))
    assert 0 < told.index("Changed elsewhere, strict") < told.index("Changed elsewhere, lenient")


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


def test_rules_are_measured_on_images_that_none_of_them_uses(session):
    session.set_marks(WHOLE)
    rewrite(session)
    report = measure_rules(session, session.rules.entries)
    used = {1, 2, 3, 4, *session.draft.seeds}
    assert len(report.effect.seeds) == COUNT
    assert not used & set(report.effect.seeds)
    assert "Arrived at the marks" in card(report)
    assert "strict" not in card(report)
    session.model.source = CallableSource(halves, Concepts.of(("right", "dark", "light")))
    named = measure_rules(session, session.rules.entries)
    assert named.concepts == ("right", "dark", "light")
    assert named.effect.counts.outside.sum() == COUNT * 16 * 16
    assert "No concept stands out under the marks" in card(named)
    # Units that are off answer no rule: there are no marks to speak of.
    unmarked = Entry("units off", replace(session.rules.entries[0].patch, rules=()))
    told = card(measure_rules(session, [unmarked]))
    assert "Pixels that changed" in told
    assert "marks" not in told
    with pytest.raises(ValueError, match="no rule that is on"):
        measure_rules(session, [])


def test_names_of_concepts_are_text_on_the_page(session):
    session.model.source = CallableSource(halves, Concepts.of([f"{HOSTILE} {number}" for number in range(3)]))
    session.set_marks(WHOLE)
    rewrite(session)
    assert_shown_as_text(card(measure_rules(session, session.rules.entries)))
    assert_shown_as_text(described(session))
    assert_shown_as_text(status(session.draft, HOSTILE))
    assert_shown_as_text(progress(0.5, HOSTILE))


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
