"""Further places that a session proposes: accepted, refused, and never offered twice."""

import pytest

from apps.editor.options import MOST_TILES
from apps.editor.proposal_list import read_answers
from apps.editor.proposing import Proposing
from apps.editor.rewrite_tab import RewriteTab
from tests.editing import box, brushed
from tests.editors import built

PLACES = brushed((2, "paste", box(8, 8)), (3, "context", box(8, 4)), (4, "context", box(4, 8)))


@pytest.fixture
def proposing(models, session) -> Proposing:
    """The handlers of proposals, after a search that offered some."""
    proposing = Proposing(built(RewriteTab, models).view)
    *_, last = proposing.on_propose_contexts(session, PLACES)
    assert len(session.offers.waiting) > 6
    assert "accept (Y) or refuse (N)" in last[proposing.view.status]
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
    assert draft.seeds[:6] == before.seeds[:6]
    assert first.latent.seed in draft.seeds
    assert second.latent.seed not in draft.seeds
    assert set(draft.regions("paste", "context")) == {*before.regions("paste", "context"), *first.regions}
    assert not {first, second} & set(session.offers.waiting)
    # The page sends its last requests again with each new one.
    proposing.on_answers(session, answers(("accept", first.latent.seed), ("refuse", second.latent.seed)))
    assert session.draft == draft


def test_images_of_proposals_are_on_the_wall_as_long_as_they_wait(session, proposing):
    first, *_ = offered = [each for each in session.offers.waiting if not each.marked]
    assert session.draft.seeds == (*range(6), *(each.latent.seed for each in offered))[:MOST_TILES]
    view = proposing.view
    shown = proposing.on_answers(session, answers(("accept", first.latent.seed), ("refuse", offered[1].latent.seed)))
    waiting = {each.latent.seed for each in session.offers.waiting}
    outlined = {each["seed"]: sum(length for _, length in each["runs"]) for each in shown[view.wall]["offered"]}
    assert set(outlined) == waiting
    assert outlined[offered[2].latent.seed] == sum(int(each.mask.array().sum()) for each in offered[2].regions)
    # A page that is loaded again has no proposals, and so not their images.
    assert session._kept()[1][session.model.fingerprint].seeds == (*range(6), first.latent.seed)
    proposing.on_answers(session, {"requests": [{"do": "refuse_all", "index": 0, "turn": 9}]})
    assert session.draft.seeds == (*range(6), first.latent.seed)


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
