"""The page of a classifier without a browser: wishes, links and files, good and bad."""

import asyncio
import base64

import gradio as gr
import pytest

from apps.editor.options import Options
from apps.editor.question_board import Wish
from apps.editor.questions import Questions
from apps.editor.questions_tab import QuestionsTab
from rewrite import Patch, load_classifier
from tests.at_once import in_time

pytest.importorskip("sklearn")
ASKED = "layer=relu4&class=7&off=12,1,11,24&of=7"


@pytest.fixture(scope="module")
def tab() -> QuestionsTab:
    async def build() -> QuestionsTab:
        with gr.Blocks(analytics_enabled=False) as blocks:
            return QuestionsTab(questions, blocks.load)

    questions = Questions(Options("digits", training=30, test=40), load_classifier("digits"))
    return asyncio.run(build())


def board(tab, updates) -> dict:
    """What a board is told last."""
    return [each[tab.board] for each in updates if tab.board in each][-1]


def test_a_page_begins_with_its_first_question_and_a_link_with_its_own(tab):
    first = board(tab, tab.on_open(""))
    assert (first["question"]["class"], first["question"]["off"], first["refused"]) == ("0", [], "")
    assert len(first["units"]) == 12
    updates = list(tab.on_open(ASKED))
    found = board(tab, updates)
    assert (found["question"]["layer"], found["question"]["off"]) == ("relu4", [12, 1, 11, 24])
    assert "Without these 4 units" in updates[-1][tab.answer]
    assert updates[-1][tab.answer] == list(tab.on_open(found["link"]))[-1][tab.answer]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("layer=relu9&class=7", "did you mean relu4"),
        ("layer=relu4&class=ten", "has no class 'ten'"),
        ("layer=relu4&class=7&off=32", "part relu4 has units 0 to 31, got 32"),
        ("layer=relu4&class=7&at=5000", "picture 5000 is none"),
        (f"{ASKED}&model=000000000000", "of another classifier"),
        ("<img src=x onerror=alert(1)>=1", "a link has no"),
    ],
)
def test_a_bad_link_opens_the_first_question_and_says_what_is_wrong(tab, query, said):
    updates = list(tab.on_open(query))
    assert said in board(tab, updates)["refused"]
    shown = [each[tab.answer] for each in updates if tab.answer in each]
    assert "With all units on" in shown[-1]
    assert board(tab, updates[:-1])["question"]["class"] == "0"
    (refused,) = tab.on_wish({"query": query, "turn": 4})
    assert (board(tab, [refused])["turn"], tab.answer in refused) == (4, False)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"query": 3},
        {"query": "x" * 20_000},
        {"query": ASKED, "do": "rm"},
        {"query": ASKED, "order": ["lights"]},
        {"query": ASKED, "cards": 10**9},
        {"query": ASKED, "find": "3"},
        {"query": ASKED, "turn": 2.5},
    ],
)
def test_what_the_page_sends_is_not_trusted(document):
    with pytest.raises(ValueError, match=r"[a-z]"):
        Wish.read(document)


def test_units_stand_in_the_order_that_is_asked_for_and_one_may_be_found(tab):
    found = board(tab, tab.on_wish({"query": ASKED, "order": "lights"}))["units"]
    assert [unit["lights"] for unit in found] == sorted((unit["lights"] for unit in found), reverse=True)
    found = board(tab, tab.on_wish({"query": ASKED, "order": "matters", "cards": 20, "find": 30}))
    matters = [unit["matters"] for unit in found["units"]]
    assert (len(matters), found["units"][0]["unit"]) == (20, 30)
    assert matters[1:] == sorted(matters[1:])[::-1]
    assert found["suggested"][:4] == [unit["unit"] for unit in found["units"] if unit["unit"] != 30][:4]


def test_an_answer_that_one_thread_begins_and_another_ends_keeps_nobody_waiting(tab):
    updates = tab.on_wish({"query": ASKED})
    first = in_time(lambda: next(updates))
    assert tab.answer in first
    assert list(updates) == []
    assert in_time(lambda: list(tab.on_wish({"query": ASKED})))[-1][tab.answer] == first[tab.answer]


def test_the_answer_is_saved_as_a_patch_and_as_a_report(tab):
    file = board(tab, tab.on_wish({"query": ASKED, "do": "patch"}))["file"]
    assert file["name"] == "off-patch.safetensors"
    path = tab.questions.options.out.parent / file["name"]
    assert not path.exists()
    report = board(tab, tab.on_wish({"query": ASKED, "do": "report"}))["file"]
    text = base64.b64decode(report["content"]).decode()
    assert "rewrite app digits --training 30 --test 40" in text
    said = board(tab, tab.on_wish({"query": "layer=relu4&class=7", "do": "patch"}))["refused"]
    assert said.startswith("tick at least one unit first")


def test_the_patch_makes_of_the_classifier_what_the_page_shows(tab, tmp_path):
    file = board(tab, tab.on_wish({"query": ASKED, "do": "patch"}))["file"]
    (tmp_path / "off.safetensors").write_bytes(base64.b64decode(file["content"]))
    questions = tab.questions
    one, images = questions.examination("relu4"), questions.pictures.images(questions.split.test)
    answer = one.ask(questions.read(ASKED))
    with Patch.load(tmp_path / "off.safetensors").applied(questions.classifier):
        assert questions.classifier.predict(images).tolist() == answer.after.tolist()
    assert answer.lost


def test_options_of_the_other_kind_of_network_are_refused(refusal):
    assert "--pictures is for a classifier, and towers is a generator" in refusal("app", "--pictures", "digits")
    assert "--tiles is for a generator, and digits is a classifier" in refusal("app", "digits", "--tiles", "3")
    assert "--class is for a generator, and digits is a classifier" in refusal("app", "digits", "--class", "3")
    assert "scenes are of classes that this classifier does not know" in refusal(
        "app", "digits", "--pictures", "scenes"
    )
    assert "pictures on both sides" in refusal("app", "digits", "--test", "0")
