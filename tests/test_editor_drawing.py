"""Walls of large networks: tile by tile, previews first, and no longer than somebody wants them."""

import threading
import time
from dataclasses import replace
from functools import partial

import gradio as gr
import pytest
import torch

from apps.editor import drawer as drawing_module
from apps.editor.cache import Cache, bytes_of
from apps.editor.drawer import PATIENCE, Drawer
from apps.editor.drawing import LEFT, lasting
from apps.editor.heat import Heat
from apps.editor.marking import Marking
from apps.editor.models import Models
from apps.editor.options import Options
from apps.editor.rewrite_tab import RewriteTab
from apps.editor.rewrite_view import counts
from apps.editor.session import Session
from apps.editor.stack import Entry
from apps.editor.work import Stopped
from dissect.causes.ablation import ablation_patch
from rewrite import load_generator
from tests.editing import WHOLE, begun, brushed, rewrite
from tests.editors import built
from tests.networks import patch_of
from tests.test_editor_threads import PATIENCE as WAIT
from tests.test_editor_threads import Busy, at_once, in_time


@pytest.fixture
def session(files, cache, monkeypatch) -> Session:
    """A session on a network that counts as large, whose images are seen early at a side of 8."""
    monkeypatch.setattr(drawing_module, "EARLY_SIDE", 8)
    models = Models(Options(str(files["model"]), segmenter="none", samples=30, tiles=4))
    large(models.first.drawer)
    return Session(models)


@pytest.fixture(scope="module")
def entry(files, tmp_path_factory) -> Entry:
    """A rule of that network."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REWRITE_CACHE", str(tmp_path_factory.mktemp("cache")))
        solving = begun(Models(Options(str(files["model"]), segmenter="none", samples=30, tiles=4)))
        solving.set_marks(WHOLE)
        return rewrite(solving)


def large(drawer: Drawer) -> None:
    drawer.small, drawer.seconds = False, 4.0


def drawn(session: Session) -> list[dict]:
    """What the page is told of the wall, one after the other."""
    view = built(RewriteTab, session.models).view
    shown = []
    for update in Marking(view).on_draw(session):
        session.model.drawer.seconds = 4.0  # However fast this network is, it counts as large.
        shown.append(update[view.wall])
    # What stands at both ends is sent when newer walls may be shown already.
    assert shown[0] == shown[-1] == gr.update()
    return shown[1:-1]


def test_tiles_come_one_by_one_after_a_preview_of_each_and_the_time_left_is_told(session):
    shown = drawn(session)
    rough = [each["rough"] for each in shown]
    assert rough == [[1, 2, 3]] * 4 + [[2, 3], [3], []]
    assert [sum(tile["image"] != LEFT for tile in each["tiles"]) for each in shown] == [1, 2, 3, 4, 4, 4, 4]
    assert shown[0]["drawing"].startswith("1 of 4 images are drawn, about 12 s left")
    assert shown[-1]["drawing"] == ""
    torch.testing.assert_close(session.before(), load_generator(session.model.name).sample(range(4)), atol=1e-5, rtol=0)
    preview, image = (next(tile for tile in each["tiles"] if tile["seed"] == 2)["image"] for each in shown[3::3])
    assert preview != image


def test_with_rules_the_edited_tiles_come_first_and_those_without_follow(session, entry):
    session.rules.add(entry)
    shown = drawn(session)
    assert shown[-1]["drawing"] == ""
    edited = [each["after"].count(LEFT) for each in shown]
    assert edited[0] == 4
    assert edited[-1] == 0
    done = next(number for number, each in enumerate(shown) if not each["rough"])
    assert shown[done]["drawing"].startswith("5 of 8")
    with session.model.holding(session.rules.held) as generator:
        torch.testing.assert_close(session.after(), generator.sample(range(4)), atol=1e-5, rtol=0)


def test_a_preview_is_the_image_without_rules_where_these_change_nothing(session, entry):
    held, drawer = [(entry.patch, 1e-9)], session.model.drawer
    plain = drawer.tiles((2,))[0]
    torch.testing.assert_close(drawer.early(2, held), plain, atol=1e-4, rtol=0)


def test_a_preview_is_nearer_to_the_edited_image_than_the_image_before(monkeypatch):
    monkeypatch.setattr(drawing_module, "EARLY_SIDE", 32)
    drawer = Drawer(load_generator())
    held = [(ablation_patch(drawer.generator, "b16.conv1", range(0, 64, 4)), 1.0)]
    for seed in range(4):
        before, after = drawer.tiles((seed,))[0], drawer.tiles((seed,), held)[0]
        assert (drawer.early(seed, held) - after).square().mean() < (before - after).square().mean()


@pytest.mark.parametrize("newer", ["seeds", "strength", "rule", "model", "drawing", "closed", "server"])
def test_anything_newer_ends_a_drawing_in_the_middle_of_a_tile(session, entry, newer):
    session.set_marks(WHOLE)
    session.rules.add(entry)
    begun, parts, before = session.draw(), [], len(session.model.drawer.known(session.draft.seeds))

    def change() -> None:
        match newer:
            case "seeds":
                session.show_next()
            case "strength":
                session.rules.strengthen(0, 0.5)
            case "rule":
                session.rules.add(replace(entry, name="another", patch=replace(entry.patch)))
            case "model":
                session.models.options = Options(session.model.name, folders=(session.models.options.out.parent,))
                session._start(replace(session.draft, seeds=(0,)))
            case "drawing":
                session.draw()
            case "closed":
                session.release()
            case "server":
                session.models.stop()

    def check() -> None:
        parts.append(1)
        if len(parts) == 5:
            change()
        if not session.wants(begun):
            raise Stopped

    with pytest.raises(Stopped):
        list(begun.steps(check))
    assert len(parts) == 5
    assert len(session.model.drawer.known(range(4))) <= max(before, 1)
    assert session.model.drawer.generator.fingerprint == session.model.fingerprint


def test_a_wall_is_drawn_while_others_work_with_the_network_for_long(session, entry):
    session.rules.add(entry)
    other = Session(session.models)
    with Busy(session):
        assert in_time(partial(drawn, other))[-1]["drawing"] == ""
        assert session.model.drawer.generator.fingerprint == session.model.fingerprint


def test_two_that_draw_take_turns_tile_by_tile(session):
    other, order, gate = Session(session.models), [], threading.Barrier(2)
    other.show_seeds((10, 11, 12, 13))
    session.show_seeds((20, 21, 22, 23))

    def draw(one: Session) -> None:
        drawing = one.draw()
        gate.wait(WAIT)
        for _ in drawing.steps(lambda: None):
            order.append((one, len(drawing.missing)))
            time.sleep(0.05)  # as a page takes to show a tile

    at_once(partial(draw, session), partial(draw, other))
    # Neither is done before the other has begun with its tiles.
    first_done = order.index(next(each for each in order if each[1] == 0))
    assert min(left for one, left in order[:first_done] if one is not order[first_done][0]) < 4


def test_heat_maps_do_not_wait_for_tiles_that_are_not_drawn(session):
    session.set_marks(brushed((1, "context", WHOLE["marks"][0]["runs"])))
    session.model.memory(session.draft.layer)
    heat = Heat.of(session.model, session.draft.layer)
    pictures = heat.pictures(session.draft.regions("context"), session.draft.seeds)
    assert [picture.size for picture in pictures] == [(16, 16)] * 4
    assert set(session.model.drawer.known(range(4))) == {0}


def test_the_wall_has_fewer_tiles_the_longer_one_takes_and_more_are_offered_with_their_time(session):
    drawer, models = session.model.drawer, session.models
    models.options = Options(models.options.model)
    expected = {0.01: 16, 1.0: 16, 2.0: 8, 3.0: 6, 60.0: 4}
    for seconds, count in expected.items():
        drawer.seconds = seconds
        assert models.count(models.first) == count
        assert count * seconds <= PATIENCE or count == 4
    drawer.seconds = 8.0
    named = dict((count, name) for name, count in counts(session)["choices"])
    assert named[4] == "4, about 32 s"
    assert named[16] == "16, about 2 min"
    assert len(Session(models).draft.seeds) == 4
    view = built(RewriteTab, models).view
    session.set_marks(WHOLE)
    shown = Marking(view).on_count(session, WHOLE, 6)
    assert [tile["seed"] for tile in shown[view.wall]["tiles"]] == list(range(6))
    assert len(session.draft.marks) == 4
    Marking(view).on_next_seeds(session, WHOLE)
    assert session.draft.seeds == tuple(range(6, 12))
    for wrong in (0, -3, 25, 2.5, "4", None, True):
        with pytest.raises(ValueError, match=r"images|seeds"):
            Marking(view).on_count(session, WHOLE, wrong)


def test_a_small_network_draws_the_whole_wall_in_one_run(files, cache):
    session = Session(Models(Options(str(files["model"]), segmenter="none", tiles=6)))
    runs = []
    session.model.drawer.generator.module.register_forward_pre_hook(lambda *_: runs.append(1))
    assert session.model.drawer.quick(24)
    assert list(session.wall().missing) == []
    assert drawn(session) == []


def test_what_is_kept_never_takes_more_memory_than_it_may(files):
    cache = Cache[torch.Tensor](most=100, bytes=4000)
    for number in range(20):
        cache.get(number, lambda: torch.zeros(250))
        assert sum(number in cache for number in range(20)) <= 4
    assert 19 in cache
    assert cache.get("large", lambda: torch.zeros(2000)) is cache.find("large")
    assert 19 not in cache
    shared = torch.zeros(100)
    assert bytes_of(((shared[:1], {"a": [shared.half()]}), "text", 3)) == 400 + 200
    patch = patch_of(load_generator(files["model"]), "b8.conv1")
    assert bytes_of(patch) == 4 * (patch.left.numel() + patch.right.numel())


def test_times_are_told_as_people_say_them():
    told = {0.01: "about 1 s", 4.4: "about 4 s", 89: "about 89 s", 150: "about 2 min"}
    assert {seconds: lasting(seconds) for seconds in told} == told
