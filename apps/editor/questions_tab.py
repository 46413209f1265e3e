"""The tab "Questions": units of a classifier off, what it loses without them, and a link, report or patch of that."""

import base64
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import gradio as gr

from apps.editor.frame import AT_ONCE, IN_TURN, REFUSED, Queue, Updates, errors_shown, message, progress, sentence
from apps.editor.model import BETWEEN_REPORTS
from apps.editor.question_board import EMPTY, OFFERS, PATCH, REPORT, QuestionBoard, Wish
from apps.editor.questions import SUGGESTED, Questions, offered
from apps.editor.remaining import Remaining
from apps.editor.work import Stopped
from dissect.questions.answer import Answer
from dissect.questions.answer_page import answer_html, numbers_in
from dissect.questions.examination import Examination
from dissect.questions.question import Question

# Of the pictures that are asked about.
SHOWN = 24
STOPPED = "Stopped; nothing was kept."
# What the page sends when it is opened: its own address, without what Gradio reads of it.
ADDRESS = """() => {
  const query = new URLSearchParams(location.search);
  for (const name of [...query.keys()]) if (name.startsWith('__')) query.delete(name);
  return [query.toString()];
}"""
INTRODUCTION = (
    "This network names pictures. Switch some of its units off, and see which pictures it loses, and to which name. "
    "The address of this page is the question: whoever opens it gets the same answer."
)


class QuestionsTab:
    """The components of the tab, and its handlers."""

    def __init__(self, questions: Questions, load: Callable[..., Any]):
        self.questions = questions
        classifier = questions.classifier
        known = {
            "layers": [{"name": part.name, "units": part.units} for part in questions.parts.values()],
            "classes": list(classifier.classes),
        }
        gr.HTML(message(INTRODUCTION, soft=True), elem_id="introduction")
        with gr.Row(elem_id="asking"):
            with gr.Column(scale=5, min_width=320):
                self.board = QuestionBoard(elem_id="board", **{**EMPTY, **known})
            with gr.Column(scale=6, min_width=320):
                self.status = gr.HTML(elem_id="asking-status")
                self.stop = gr.Button("Stop", elem_id="asking-stop", visible=False, min_width=80)
                self.answer = gr.HTML(elem_id="answer")
        address = gr.Textbox(visible=False)
        shown = [self.board, self.answer, self.status, self.stop]
        connect(functools.partial(load, js=ADDRESS), self.on_open, [address], shown)
        connect(self.board.input, self.on_wish, [self.board], shown)
        connect(self.stop.click, self.on_stop, [], [self.status], AT_ONCE)

    def on_open(self, address: Any) -> Iterator[Updates]:
        """Answer the question of the page's address, or the first one where it asks none that can be asked."""
        query = address if isinstance(address, str) else ""
        yield from self._carried_out(Wish(query), fall_back=True)

    def on_wish(self, document: Any) -> Iterator[Updates]:
        """Answer what is asked, look for parts of a class, or make a file of the answer."""
        yield from self._carried_out(Wish.read(document))

    def on_stop(self) -> Updates:
        """Stop the work."""
        self.questions.stop()
        return {self.status: message(STOPPED)}

    def _carried_out(self, wish: Wish, *, fall_back: bool = False) -> Iterator[Updates]:
        """The updates of a wish; one that cannot be fulfilled leaves all as it is, and says why."""
        try:
            yield from self._fulfilled(wish)
        except Stopped:
            yield {self.status: message(STOPPED), self.stop: gr.update(visible=False), self.board: self._said("", wish)}
        except REFUSED as error:
            if fall_back:
                yield from self._fulfilled(Wish())
            yield {self.board: self._said(sentence(error), wish), self.status: "", self.stop: gr.update(visible=False)}

    def _said(self, refused: str, wish: Wish) -> dict[str, Any]:
        return gr.update(refused=refused, turn=wish.turn, file=None)

    def _fulfilled(self, wish: Wish) -> Iterator[Updates]:
        asked, question = self.questions, self.questions.read(wish.query)
        if not asked.knows(question.part):
            yield from self._following(lambda told: asked.examination(question.part, told), f"Reading {question.part}")
        one = asked.examination(question.part)
        one.check(question)
        if wish.do == OFFERS and asked.known_offers(question) is None:
            text = f"Looking for parts of {asked.classifier.classes[question.number]} that one unit tells"
            yield from self._following(lambda told: asked.offers(question, told), text)
        # Not held while the page is told: a generator may go on in another thread than it began in.
        with asked.lock:
            updates = self._answered(one, one.ask(question), wish)
        yield updates

    def _answered(self, one: Examination, answer: Answer, wish: Wish) -> Updates:
        asked, question = self.questions, answer.question
        name = asked.classifier.classes[question.number]
        board = gr.update(
            question=document_of(question, asked.classifier.classes),
            units=asked.cards(one, answer, wish),
            order=wish.order,
            suggested=list(one.most_important(question.number, SUGGESTED)),
            offers=offered(asked.known_offers(question), name),
            refused="",
            link=asked.link(question),
            file=self._file(one, answer, wish),
            turn=wish.turn,
        )
        tiles = asked.tiles(one, numbers_in(answer, SHOWN))
        shown = answer_html(answer, tiles, pictures=SHOWN, live=True)
        return {self.board: board, self.answer: shown, self.status: "", self.stop: gr.update(visible=False)}

    def _file(self, one: Examination, answer: Answer, wish: Wish) -> dict[str, str] | None:
        """What the browser is to save."""
        if wish.do == REPORT:
            text = self.questions.report(one, answer)
            return {"name": "answer.html", "type": "text/html", "content": _coded(text.encode())}
        if wish.do == PATCH:
            patch, path = self.questions.patch(answer.question), Path("off-patch.safetensors")
            return {"name": path.name, "type": "application/octet-stream", "content": _coded(written(patch))}
        return None

    def _following(self, run: Callable[[Callable[[float], None]], object], text: str) -> Iterator[Updates]:
        """Run what tells how far it is, and tell the page."""
        stopped, latest, remaining = self.questions.begin(), [0.0], Remaining()

        def told(share: float) -> None:
            latest[:] = [share]
            if stopped():
                raise Stopped

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run, told)
            while not wait([running], timeout=BETWEEN_REPORTS).done:
                said = progress(latest[0], remaining.after(text, latest[0]))
                yield {self.status: said, self.stop: gr.update(visible=True)}
            running.result()


def document_of(question: Question, classes: tuple[str, ...]) -> dict[str, Any]:
    """A question as the board knows it."""
    subset = question.subset
    return {
        "layer": question.part,
        "class": classes[question.number],
        "off": list(question.off),
        "of": None if subset.of is None else classes[subset.of],
        "named": None if subset.named is None else classes[subset.named],
        "lit": [str(each) for each in subset.lit],
        "only": None if subset.only is None else list(subset.only),
        "at": question.at,
    }


def written(patch: Any) -> bytes:
    """The bytes of the file of a patch."""
    from rewrite.storage.scratch import scratch

    with scratch() as folder:
        path = folder / "patch.safetensors"
        patch.save(path)
        return path.read_bytes()


def connect(
    event: Callable[..., Any], handler: Callable[..., Any], given: list, shown: list, queue: Queue = IN_TURN
) -> None:
    """Register a handler that keeps nothing between two wishes: the address of the page is all that it knows."""

    @functools.wraps(handler)
    def steps(*values: Any) -> Iterator[Updates]:
        with errors_shown():
            found = handler(*values)
            yield from [found] if isinstance(found, dict) else found

    event(
        steps,
        given,
        shown,
        api_name=f"questions_{handler.__name__.removeprefix('on_')}",
        concurrency_id=queue.name,
        concurrency_limit=queue.at_once,
        trigger_mode=queue.trigger,
        show_progress="hidden",
    )


def _coded(content: bytes) -> str:
    return base64.b64encode(content).decode()
