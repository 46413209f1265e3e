"""Latents of files on the editor's wall: beside seeds, in rules, and kept. Without a page."""

import json
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.editor.contexts import find_regions
from apps.editor.draft import MOST_GIVEN
from apps.editor.given import SEEDS, images_text, number_of, parse_images
from apps.editor.heat import Heat
from apps.editor.look import Look
from apps.editor.looking import Looking
from apps.editor.marking import Marking
from apps.editor.marks import documents, read_marks
from apps.editor.models import Models
from apps.editor.options import MOST_TILES
from apps.editor.rewrite_tab import RewriteTab
from apps.editor.session import Session
from dissect.sources.contract import CallableSource
from rewrite import Latent, Rule, load_generator, read_latents
from rewrite.generators.latents import Latents
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.reports.concepts import Concepts
from tests.editing import box, brushed, rewrite
from tests.editors import built
from tests.networks import CONFIG, random_stylegan2

EMPTY = brushed()
CONCEPTS = Concepts(("rest", "all"), ("", ""))


@pytest.fixture
def w(files, tmp_path) -> Path:
    """The W+ of three seeds, as a projector writes them, with noise of their own."""
    generator = load_generator(files["model"])
    path = tmp_path / "projected_w.npz"
    np.savez(path, w=generator.styles(generator.latents([40, 41, 42])).detach().numpy())
    return path


@pytest.fixture
def view(models: Models) -> Marking:
    return Marking(built(RewriteTab, models).view)


def latents_of(path: Path, session: Session) -> list[Latent]:
    return Latent.each(read_latents(path, session.model.generator))


def test_a_file_of_w_is_put_on_the_wall_and_drawn_as_the_library_draws_it(session, view, w):
    shown = view.on_latents(session, EMPTY, str(w))
    assert session.draft.names[:4] == ["w1", "w2", "w3", "seed 0"]
    assert len(session.draft.seeds) == session.count
    generator = load_generator(session.model.name)
    expected = torch.cat([generator.sample(read_latents(w, generator)), generator.sample([0])])
    torch.testing.assert_close(session.before()[:4], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(session.model.images(session.draft.seeds)[:4], expected, rtol=0, atol=1e-5)
    tiles = shown[view.view.wall]["tiles"]
    assert [tile["name"] for tile in tiles][:4] == session.draft.names[:4]
    assert shown[view.view.seeds].startswith("w1,w2,w3,0,1")
    assert "3 of 3 latents" in shown[view.view.status]


def test_marks_on_latents_make_a_rule_that_replays_from_its_file(session, w, tmp_path):
    session.show_latents(latents_of(w, session))
    first, second, *_ = session.draft.seeds
    marked = brushed(
        (first, "copy", box(2, 2)), (second, "paste", box(6, 6)), (3, "context", box(4, 8)), (4, "protect", box(1, 1))
    )
    session.set_marks(marked)
    entry = rewrite(session)
    assert [region.latent for region in entry.rule.copy] == latents_of(w, session)[:1]
    entry.rule.save(tmp_path / "rule.json")
    again = Rule.load(tmp_path / "rule.json")
    assert again == entry.rule
    other = Session(session.models)
    other.begin().rewrite(again)
    assert other.show_rule(0)
    # The rule brings its latents along: their names are counted by each session.
    assert set(other.draft.seeds[:4]) == {first, second, 3, 4}
    assert set(other.draft.marks) == set(session.draft.marks)
    torch.testing.assert_close(other.after(1), session.model.drawer.tiles(other.draft.seeds[:1], session.rules.held))


def test_latents_stay_over_a_new_start_of_the_server(new_session, w):
    key = str(uuid.UUID(int=9))
    new_session.resume(key)
    new_session.show_latents(latents_of(w, new_session))
    new_session.set_marks(brushed((new_session.draft.seeds[1], "copy", box(2, 2))))
    new_session.keep()
    later = Session(Models(new_session.models.options))
    assert later.resume(key)
    assert later.draft.seeds == new_session.draft.seeds
    assert later.draft.given == new_session.draft.given
    assert later.draft.marks == new_session.draft.marks
    assert torch.equal(later.before(), new_session.before())
    folder = new_session.shelf.folder
    assert len(list(folder.glob("latent-*.json"))) == 3
    later.set_marks(EMPTY)
    later.draft = later.draft.__class__(later.model, (0, 1))
    later.keep()
    assert not list(folder.glob("latent-*.json"))
    (folder / "session.json").write_text(
        (folder / "session.json").read_text().replace('"given": []', '"given": ["../a"]')
    )
    with pytest.raises(ValueError, match="damaged"):
        Session(new_session.models).resume(key)


def test_seeds_and_latents_are_named_in_one_line(session, w):
    given = latents_of(w, session)
    numbers = [number_of(latent) for latent in given]
    assert min(numbers) >= SEEDS
    assert max(numbers) < 2**53
    assert len(set(numbers)) == 3
    assert parse_images("0-1, w2-w3,7,w1", given) == (0, 1, *numbers[1:], 7, numbers[0])
    assert images_text((*numbers, 0), given) == "w1,w2,w3,0"
    assert images_text((3, 4, 5), given) == "3-5"
    with pytest.raises(ValueError, match="this page has 3 latents of files, counted from 1: got 2 to 4"):
        parse_images("w2-w4", given)
    with pytest.raises(ValueError, match="seeds are numbers and ranges"):
        parse_images("w", given)


def test_what_follows_latents_are_the_next_seeds(session, view, w):
    view.on_latents(session, EMPTY, str(w))
    highest = max(session.draft.plain_seeds)
    assert session.draft.following(2) == range(highest + 1, highest + 3)
    session.show_next()
    assert session.draft.seeds[0] == highest + 1
    view.on_seeds(session, EMPTY, "w3,w1")
    assert session.draft.names == ["w3", "w1"]
    session.show_count(3)
    assert session.draft.names == ["w3", "w1", "seed 0"]


def test_the_wall_goes_back_to_the_seeds_before_and_no_farther_than_the_first(session, view):
    first = session.draft.seeds
    session.show_next()
    view.on_previous_seeds(session, EMPTY)
    assert session.draft.seeds == first
    view.on_seeds(session, EMPTY, "1-3")
    view.on_previous_seeds(session, EMPTY)
    assert session.draft.seeds == tuple(range(session.count))


def test_only_latents_of_this_page_are_marked(session, w):
    number = number_of(latents_of(w, session)[0])
    marked = brushed((number, "copy", box(2, 2)))
    with pytest.raises(ValueError, match="a mark's seed is a whole number"):
        session.set_marks(marked)
    session.show_latents(latents_of(w, session))
    (mark,) = session.set_marks(marked).marks
    assert mark.seed == number
    session.show_seeds((0, 1))
    session.draft = session.draft.with_given(Latent(0, tuple(np.random.rand(8).tolist())) for _ in range(MOST_GIVEN))
    # What is marked is known still, however many latents came afterwards.
    assert session.set_marks(marked).marks == (mark,)
    assert read_marks({"marks": documents([mark])}, 16, [mark.region.latent]) == (mark,)


def test_many_latents_fill_the_wall_and_those_of_another_generator_are_refused(session, view, tmp_path):
    np.save(tmp_path / "z.npy", np.zeros((30, 5), np.float32))
    with pytest.raises(ValueError, match=r"^z\.npy holds latents of shape \(30, 5\)"):
        view.on_latents(session, EMPTY, str(tmp_path / "z.npy"))
    np.save(tmp_path / "w.npy", np.random.rand(30, 8).astype(np.float32))
    shown = view.on_latents(session, EMPTY, str(tmp_path / "w.npy"))
    assert len(session.draft.seeds) == MOST_TILES
    assert "24 of 30 latents" in shown[view.view.status]
    assert session.draft.following(2) == range(2)
    json.dumps(shown[view.view.wall]["tiles"])


def test_heat_preview_and_concepts_follow_latents_as_they_do_their_seeds(new_session, w):
    new_session.show_latents(latents_of(w, new_session))
    new_session.set_marks(
        brushed((new_session.draft.seeds[0], "copy", box(2, 2)), (new_session.draft.seeds[1], "paste", box(6, 6)))
    )
    places = new_session.draft.regions("paste")
    model = new_session.model
    model.generator.noise = model.drawer.generator.noise = "const"
    heat = Heat.of(model, new_session.draft.layer)
    by_seed = heat.maps([replace(places[0], latent=Latent(41))], (40, 41, 42))
    torch.testing.assert_close(heat.maps(places, new_session.draft.seeds[:3]), by_seed, rtol=0, atol=1e-3)
    assert list(new_session.begin().preview(new_session.draft.rule())) == [new_session.draft.seeds[1]]
    model.source = CallableSource(lambda images, _: np.ones((len(images), 16, 16), np.int64), CONCEPTS)
    new_session.show_seeds(new_session.draft.seeds[:3])
    found, _ = find_regions(new_session.begin(), new_session.draft, "all")
    assert [number_of(region.latent) for region in found] == list(new_session.draft.seeds)


def test_another_truncation_holds_for_the_whole_wall_and_what_is_marked_there_is_found_again_by_value(
    session, view, tmp_path
):
    looking = Looking(view.view, tmp_path)
    seeds = session.draft.seeds
    shown = looking.on_look(session, EMPTY, 0.5, None)
    truncated = load_generator(session.model.name, truncation=0.5)
    torch.testing.assert_close(session.before(), truncated.sample(seeds), rtol=0, atol=1e-5)
    assert session.draft.names[0] == "seed 0 ψ 0.5"
    assert shown[view.view.seeds] == "0-5"
    assert shown[view.view.truncation]["value"] == 0.5

    first, second, third, *_ = session.draft.seeds
    session.set_marks(brushed((first, "copy", box(2, 2)), (second, "paste", box(6, 6)), (third, "context", box(8, 4))))
    rule = rewrite(session).rule
    # The rule is opened without the truncation, and finds the images that were marked.
    again = Rule.from_json(rule.to_json())
    assert again.truncation == 1
    other = Session(session.models)
    other.begin().rewrite(again)
    assert other.show_rule(0)
    assert set(other.draft.seeds[:3]) == {first, second, third}
    torch.testing.assert_close(other.model.drawer.tiles((second,)), truncated.sample([1]), rtol=0, atol=1e-5)

    # New images are drawn so, too, and typed ones; the model's own truncation brings the plain seeds back.
    view.on_next_seeds(session, EMPTY)
    torch.testing.assert_close(session.before(), truncated.sample(range(6, 12)), rtol=0, atol=1e-5)
    view.on_count(session, EMPTY, 8)
    assert session.draft.text == "6-13"
    view.on_seeds(session, EMPTY, "0-5")
    assert session.draft.seeds[:3] == (first, second, third)
    looking.on_look(session, EMPTY, 1.0, None)
    assert session.draft.seeds == seeds
    with pytest.raises(ValueError, match="truncation lies between 0 and 2"):
        looking.on_look(session, EMPTY, 2.5, None)
    with pytest.raises(ValueError, match="draws classes 0 to -1"):
        looking.on_look(session, EMPTY, 1.0, 3)


def test_the_look_stays_over_a_new_start_of_the_server(session):
    key = str(uuid.UUID(int=10))
    session.resume(key)
    session.show_look(Look(0.4))
    session.set_marks(brushed((session.draft.seeds[1], "copy", box(2, 2))))
    session.keep()
    later = Session(Models(session.models.options))
    assert later.resume(key)
    assert (later.draft.seeds, later.draft.look, later.draft.names) == (
        session.draft.seeds,
        Look(0.4),
        session.draft.names,
    )
    assert later.draft.marks == session.draft.marks
    assert torch.equal(later.before(), session.before())
    later.show_next()
    assert later.draft.names[0] == "seed 6 ψ 0.4"


def test_a_class_is_part_of_the_latent_of_a_generator_with_classes():
    network = random_stylegan2(design=Design(**{**CONFIG, "c_dim": 3}))
    generator = StyleGAN2Generator(network)
    assert Look(label=2).sign == "class 2"
    found = Look(label=2).latents(generator, [4])
    other = StyleGAN2Generator(network, label=2)
    assert found == Latent.each(Latents(other.latents([4]).z, (4,), other.styles(other.latents([4]))[:, :1]))
    assert found != Look(label=1).latents(generator, [4])
    assert generator.label == 0
    with pytest.raises(ValueError, match="class"):
        Look(label=3).latents(generator, [4])


def test_the_latent_of_an_image_is_shown_and_its_file_draws_the_image_again(new_session, view, tmp_path):
    looking = Looking(view.view, tmp_path)
    new_session.show_look(Look(0.5))
    shown = looking.on_latent(new_session, "3")
    (path,) = shown[view.view.latent_file]["value"]
    latents = read_latents(path, new_session.model.generator)
    assert json.loads(shown[view.view.latent_text]) == latents.w[0].tolist()
    generator = load_generator(new_session.model.name)
    generator.noise = new_session.model.drawer.generator.noise = "const"
    torch.testing.assert_close(generator.sample(latents), new_session.model.drawer.tiles(new_session.draft.seeds[3:4]))
    with pytest.raises(ValueError, match="these are 3"):
        looking.on_latent(new_session, "1-3")
