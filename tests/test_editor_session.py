"""The state of one browser session: marks, rules, exports; all of it without a page."""

import copy
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.editor.cache import Cache
from apps.editor.heat import ORDINARY, Heat
from apps.editor.marks import documents, marks_of, mask_side, read_marks
from apps.editor.opening import Opening
from apps.editor.session import Session
from apps.editor.work import Stopped
from dissect.sources.contract import CallableSource
from rewrite import Mask, Rule, Search, load_generator, measure, solve
from rewrite.memory import Memory
from rewrite.reports.concepts import Concepts
from tests.editing import WHOLE, begun, box, brushed, find, rewrite
from tests.networks import marked_rule


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
    for each in (one, other):
        each.set_marks(WHOLE)
    entry = rewrite(one)
    monkeypatch.setattr("apps.editor.work.solve", None)
    found = other.begin().rewrite(other.draft.rule_with_effect("of another"))
    assert torch.equal(found.patch.left, entry.patch.left)
    assert [Rule.from_json(each.patch.rules[0]).name for each in (entry, found)] == ["rule", "of another"]


def test_sessions_that_work_at_once_get_their_own_images(models):
    sessions = [begun(models) for _ in range(4)]
    for number, each in enumerate(sessions):
        each.set_marks(WHOLE)
        rewrite(each)
        each.rules.strengthen(0, 0.25 * (number + 1))
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


def test_contexts_are_found_by_concept_on_the_wall_and_beyond_it(new_session):
    def halves(images: torch.Tensor, numbers) -> np.ndarray:
        labels = np.zeros((len(images), 16, 16), dtype=np.int64)
        labels[:, 4:8, 4:8] = 1
        return labels

    new_session.model.source = CallableSource(halves, Concepts(("rest", "dome"), ("", "")))
    new_session.set_marks(brushed((1, "copy", box(2, 2))))
    assert find(new_session, "dome", 5) == len(new_session.draft.seeds) + 5
    rule = new_session.draft.rule()
    assert {region.latent.seed for region in rule.context} == set(new_session.draft.seeds) | set(range(10_000, 10_005))
    with pytest.raises(LookupError):
        find(new_session, "submarine")
    new_session.set_marks(brushed((1, "copy", box(2, 2)), (2, "paste", box(8, 8))))
    assert new_session.draft.rule().context == ()


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


def test_a_stopped_solution_leaves_the_generator_as_it_was(new_session):
    fingerprint = new_session.model.generator.fingerprint
    new_session.set_marks(WHOLE)
    new_session.model.memory(new_session.draft.layer)
    work = new_session.begin()
    new_session.stop()
    with pytest.raises(Stopped):
        work.rewrite(new_session.draft.rule())
    assert len(new_session.rules) == 0
    assert new_session.model.generator.fingerprint == fingerprint
    rewrite(new_session)
    assert len(new_session.rules) == 1


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "missing.pt", "..", "", "rule.json"])
def test_a_model_is_opened_only_from_the_folders_of_the_server(session, name):
    with pytest.raises(FileNotFoundError, match="may open no such model"):
        session.open(name)


def test_a_link_out_of_the_folder_is_not_followed(session, files, tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "link.safetensors").symlink_to(files["memory"])
    monkeypatch.setattr(session.models, "options", replace(session.models.options, folders=(folder,)))
    with pytest.raises(FileNotFoundError):
        session.open("link.safetensors")


def test_a_model_that_is_opened_again_keeps_its_marks_and_rules(session, files):
    session.set_marks(WHOLE)
    entry, marks = rewrite(session), session.draft.marks
    session.open(files["model"].name)
    assert (session.draft.marks, session.rules.entries, session.opened) == (marks, (entry,), 1)
    assert session.model.generator.fingerprint == load_generator(files["model"]).fingerprint


def test_opening_a_model_tells_how_far_it_is_and_is_ended_on_the_way(session):
    before, told = session.model, []

    def check(most: float) -> None:
        told.append(opening.done)
        if opening.done > most:
            raise Stopped

    opening = Opening(lambda: check(0.5))
    with pytest.raises(Stopped):
        session.open("towers", opening)
    assert session.model is before
    assert session.opened == 0
    told.clear()
    opening = Opening(lambda: check(1.0))
    session.open("towers", opening)
    assert session.model.name == "towers"
    assert told == sorted(told)
    assert len(set(told)) > 10
    assert opening.done == 1


def test_a_file_that_holds_no_generator_is_refused_and_the_model_stays(session):
    model = session.model
    with pytest.raises(ValueError, match="memory"):
        session.open("memory.safetensors")
    assert session.model is model


def test_masks_fit_images_of_any_size():
    assert [mask_side(size) for size in ((64, 64), (256, 256), (1024, 1024), (300, 300))] == [64, 256, 256, 150]
    Mask((mask_side((1024, 1024)),) * 2, ((0, 1),)).check_size((1024, 1024))
