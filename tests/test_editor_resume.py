"""What a session of the editor keeps: over a reload, another model, a new start of the server. Without a page."""

import uuid
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from apps.editor import shelf as shelf_module
from apps.editor.exports import FILES, Export
from apps.editor.models import Models
from apps.editor.rewrite_tab import RewriteTab
from apps.editor.rule_panel import RulePanel
from apps.editor.session import Session
from apps.editor.shelf import FOLDER, MOST_KEPT, STATE, tidy
from apps.editor.stack import MOST_RULES, Entry
from dissect import Photograph
from dissect.causes.painting import Painting
from dissect.causes.stroke import Stroke
from rewrite import Mask, Rule, load_generator
from tests.editing import WHOLE, begun, box, brushed
from tests.editors import built
from tests.networks import CONFIG, random_stylegan2

KEY = str(uuid.UUID(int=7))


@pytest.fixture
def session(models) -> Session:
    session = begun(models)
    session.resume(KEY)
    return session


@pytest.fixture
def other(files) -> str:
    """The name of a second model of the server."""
    from rewrite.checkpoints import native

    path = files["model"].parent / "other.safetensors"
    native.save_stylegan2(path, random_stylegan2(seed=1).state_dict(), CONFIG, {"seed": 1})
    return path.name


def work_on(session: Session) -> Entry:
    """Marks, choices, another wall, and a rule of half strength."""
    session.set_marks(WHOLE)
    session.choose(caution=0.5)
    session.show_seeds((1, 2, 3, 4, 9))
    session.begin().rewrite(session.draft.rule("kept"), 0.5)
    session.rules.strengthen(0, 0.5)
    return session.rules.entry(0)


def state(session: Session) -> tuple:
    draft = session.draft
    rules = [(each.name, each.strength, each.on, each.saved()) for each in session.rules.entries]
    return draft.seeds, draft.marks, draft.further, draft.choices, rules


@pytest.mark.parametrize("again", ["the same server", "a server that was started again"])
def test_a_page_that_is_loaded_again_goes_on_where_it_was(session, options, again):
    work_on(session)
    session.keep()
    before, images = state(session), session.after()
    later = Session(session.models if again == "the same server" else Models(options))
    assert later.resume(KEY)
    assert state(later) == before
    assert later.after().equal(images)
    # And work goes on from there.
    assert later.begin().rewrite_again(later.draft.rule("again"), 0.5).name == "kept"
    assert len(later.rules) == 1


def test_a_page_without_a_past_begins_anew(models):
    session = Session(models)
    assert not session.resume(KEY)
    assert (session.opened, session.draft.marks, len(session.rules)) == (0, (), 0)


def test_two_tabs_keep_two_sessions(session):
    work_on(session)
    session.keep()
    second = Session(session.models)
    assert not second.resume(str(uuid.UUID(int=8)))
    second.set_marks(brushed((5, "copy", box(1, 1))))
    second.keep()
    third = Session(session.models)
    third.resume(KEY)
    assert third.draft.marks == session.draft.marks


def test_the_page_before_a_reload_does_not_write_over_the_one_after_it(session):
    work_on(session)
    session.keep()
    later = Session(session.models)
    later.resume(KEY)
    session.set_marks({"marks": []})
    session.keep()
    last = Session(session.models)
    last.resume(KEY)
    assert last.draft.marks == later.draft.marks != ()


def test_another_model_and_back_restores_marks_rules_and_choices(session, other, files):
    work_on(session)
    before = state(session)
    session.open(other)
    assert (session.draft.marks, len(session.rules)) == ((), 0)
    session.set_marks(brushed((0, "copy", box(3, 3))))
    session.keep()
    session.open(files["model"].name)
    assert state(session) == before
    # A page that is loaded again knows both models, and opens the last one.
    session.open(other)
    session.keep()
    later = Session(session.models)
    later.resume(KEY)
    assert [mark.seed for mark in later.draft.marks] == [0]
    later.open(files["model"].name)
    assert state(later) == before


def test_what_a_deleted_rule_left_on_disk_goes_and_comes_back_with_undo(session, cache):
    entry = work_on(session)
    path = cache / FOLDER / KEY / f"{entry.key}.safetensors"
    session.keep()
    assert path.exists()
    session.rules.delete(0)
    session.keep()
    assert not path.exists()
    session.rules.undo()
    session.keep()
    assert path.exists()


@pytest.mark.parametrize("content", ["", "[]", '{"models": 3}', '{"open": "x", "models": {}}', '{"models": {"x": {}}}'])
def test_a_damaged_past_is_said_and_the_page_begins_anew(session, cache, content):
    work_on(session)
    session.keep()
    (cache / FOLDER / KEY / STATE).write_text(content)
    later = Session(session.models)
    with pytest.raises(ValueError, match=r"damaged|not a valid"):
        later.resume(KEY)
    assert later.draft.marks == ()
    later.set_marks(WHOLE)
    later.keep()
    assert Session(session.models).resume(KEY)


@pytest.mark.parametrize("key", [None, 3, "", "../../x", KEY + "/", KEY.upper() + "x"])
def test_a_page_names_no_place_on_disk(models, key):
    with pytest.raises(ValueError, match="random key"):
        Session(models).resume(key)


def test_what_tabs_of_long_ago_kept_is_taken_away(cache):
    for number in range(MOST_KEPT + 3):
        (cache / FOLDER / str(uuid.UUID(int=number))).mkdir(parents=True)
    (cache / FOLDER / "of somebody else").mkdir()
    tidy()
    assert len(list((cache / FOLDER).iterdir())) == MOST_KEPT + 1


def test_rules_are_unsaved_until_they_are_filed_and_a_reload_remembers_it(session):
    entry = work_on(session)
    assert session.unfiled == 1
    session.file([entry.key])
    session.rules.strengthen(0, 1.5)
    assert session.unfiled == 0
    session.keep()
    later = Session(session.models)
    later.resume(KEY)
    assert later.unfiled == 0


def panel_of(session: Session) -> RulePanel:
    return RulePanel(built(RewriteTab, session.models).view)


def test_rewrite_on_unchanged_marks_replaces_its_rule_and_keeps_its_name_and_strength(session):
    panel = panel_of(session)
    list(panel.on_rewrite(session, WHOLE))
    session.rules.rename(0, "mine")
    session.rules.strengthen(0, 0.5)
    first = session.rules.entry(0)
    list(panel.on_rewrite(session, WHOLE))
    session.choose(caution=1.0)
    list(panel.on_rewrite(session, WHOLE))
    (last,) = session.rules.entries
    assert (last.name, last.strength) == ("mine", 0.5)
    assert not last.patch.left.equal(first.patch.left)
    session.rules.undo()
    session.rules.undo()
    assert session.rules.entry(0).patch is first.patch
    list(panel.on_rewrite(session, {"marks": WHOLE["marks"][:-1]}))
    assert len(session.rules) == 2


def test_what_cannot_be_is_refused_before_anything_is_solved(session, monkeypatch, files):
    def never(*_: object) -> None:
        raise AssertionError("it began to work")

    panel, rule = panel_of(session), Rule.load(files["rule"])
    entry = work_on(session)
    monkeypatch.setattr("apps.editor.work.Work.solve", never)
    monkeypatch.setattr("apps.editor.work.Work.measuring", never)
    with pytest.raises(ValueError, match="written on model"):
        list(panel.on_load(session, replace(rule, model="0" * 16).to_json().encode()))
    with pytest.raises(LookupError, match="no layer"):
        list(panel.on_load(session, replace(rule, layer="b999").to_json().encode()))
    for number in range(MOST_RULES - 1):
        session.rules.add(replace(entry, key=f"{number:016x}", rule=None))
    with pytest.raises(ValueError, match="at most 16 rules"):
        list(panel.on_load(session, rule.to_json().encode()))
    with pytest.raises(ValueError, match="at most 16 rules"):
        list(panel.on_rewrite(session, {"marks": WHOLE["marks"][:-1]}))


def test_an_export_into_a_file_is_refused_before_anything_is_made(session, tmp_path):
    work_on(session)
    (tmp_path / "out").write_text("no folder")
    with pytest.raises(ValueError, match="cannot write into"):
        Export.of(session, tmp_path / "out", tmp_path / "private", "mine", sorted(FILES))
    assert not (tmp_path / "private").exists()
    made = Export.of(session, Path(tmp_path / "new" / "out"), tmp_path / "private", "mine", sorted(FILES))
    assert not (tmp_path / "new").exists()
    assert made.kinds == FILES


def picture_of(session: Session) -> Photograph:
    """A photograph as a search finds it."""
    generator = load_generator(session.model.name)
    latent = generator.latents([5])
    picture = (generator.sample([5])[0].clamp(-1, 1) * 127.5 + 127.5).round() / 127.5 - 1
    return Photograph(picture, latent._replace(w=generator.styles(latent)), (), (), generator.fingerprint)


def painted_on(session: Session, seed: int) -> Painting:
    stroke = Stroke(Mask((16, 16), ((3, 4),)), "tree", action="add", strength=0.5, count=3)
    return Painting(session.model.fingerprint, "b16.conv1", seed).add(stroke)


def test_paintings_and_photographs_stay_over_a_new_start_of_the_server_until_they_are_forgotten(session, options):
    session.paintings.keep(painted_on(session, 7))
    session.paintings.keep(painted_on(session, 8))
    session.paintings.seed = 8
    photograph = picture_of(session)
    session.photographs.keep(photograph, {})
    session.photographs.paintings[photograph.model, "b16.conv1"] = painted_on(session, 5)
    session.photographs.adapted = False
    session.keep()
    folder = session.shelf.folder
    assert folder.stat().st_mode & 0o077 == 0
    assert len(list(folder.glob("photograph-*"))) == 1

    later = Session(Models(options))
    assert later.resume(KEY)
    assert later.paintings.seed == 8
    assert [each.strokes for each in later.paintings.paintings.values()] == [painted_on(session, 7).strokes] * 2
    found = later.photographs.found[photograph.model]
    torch.testing.assert_close(found.picture, photograph.picture)
    assert torch.equal(found.latent.w, photograph.latent.w)
    assert later.photographs.painting(found, "b16.conv1").strokes == painted_on(session, 5).strokes
    assert not later.photographs.adapted
    later.photographs.forget(photograph.model)
    later.keep()
    assert list(folder.glob("photograph-*")) == []
    last = Session(later.models)
    last.resume(KEY)
    assert (len(last.paintings.paintings), last.photographs.found) == (2, {})


def test_what_is_kept_on_disk_is_bounded(session, cache, monkeypatch):
    monkeypatch.setattr(shelf_module, "MOST_BYTES", 1000)
    session.photographs.keep(picture_of(session), {})
    session.paintings.keep(painted_on(session, 7))
    session.keep()
    assert list(session.shelf.folder.glob("photograph-*")) == []
    later = Session(session.models)
    later.resume(KEY)
    assert (len(later.paintings.paintings), later.photographs.found) == (1, {})
    large = cache / FOLDER / str(uuid.UUID(int=1))
    large.mkdir()
    (large / "large").write_bytes(b"0" * 5000)
    monkeypatch.setattr(shelf_module, "MOST_OF_ALL", 4000)
    tidy()
    assert not large.exists()


def test_a_damaged_photograph_is_said_and_the_page_begins_anew(session):
    session.photographs.keep(picture_of(session), {})
    session.keep()
    (path,) = session.shelf.folder.glob("photograph-*")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged"):
        Session(session.models).resume(KEY)
