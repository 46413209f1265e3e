"""What a classifier is asked on the page: it, its pictures, and what is known of its parts. No Gradio in it."""

import shlex
import threading
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch

from apps.editor.cache import Cache
from apps.editor.options import Options
from apps.editor.question_board import LIGHTS, MATTERS, Wish
from apps.pictures import pictures_for
from dissect.questions.answer import Answer
from dissect.questions.answer_page import address_of, answer_page, tiles_of
from dissect.questions.examination import Examination, examine
from dissect.questions.heats import heats, tops
from dissect.questions.off_patch import off_patch
from dissect.questions.offers import Offer, offers_for
from dissect.questions.parts import parts_of, usual_part
from dissect.questions.question import Question, about
from dissect.questions.subset import Subset
from rewrite import Classifier, Patch
from rewrite.storage.quoting import LONGEST, quoted

MOST_EXAMINATIONS, MOST_TILES, MOST_OFFERS = 3, 4096, 32
SUGGESTED, TOPS, TRIED = 20, 3, 32
OnProgress = Callable[[float], object]


class Questions:
    """A classifier that is asked, and what all pages share of it. Under its lock one question is answered at a time.

    Args:
        options: What the server was started with.
        classifier: The classifier.

    Attributes:
        first: The question that a page begins with.
    """

    def __init__(self, options: Options, classifier: Classifier):
        self.options, self.classifier = options, classifier
        self.pictures = pictures_for(options.pictures, classifier, options.training + options.test)
        self.split = self.pictures.split(options.training, options.test)
        self.parts, self.about = parts_of(classifier), about(classifier, self.pictures, self.split)
        number = int(self.pictures.classes(self.split.test).min())
        self.first = Question(usual_part(self.parts), number, (), Subset(of=number))
        self.lock, self._stopped = threading.RLock(), threading.Event()
        self._examinations = Cache[Examination](MOST_EXAMINATIONS)
        self._tiles, self._heats = Cache[str](MOST_TILES), Cache[str](MOST_TILES)
        self._offers = Cache[list[Offer]](MOST_OFFERS)

    def stop(self) -> None:
        """End the work that has begun; nothing of it is kept."""
        self._stopped.set()

    def begin(self) -> Callable[[], bool]:
        """Begin work: it asks again and again whether it was stopped."""
        stopped = self._stopped = threading.Event()
        return stopped.is_set

    def read(self, query: str) -> Question:
        """The question of a link or of the page; the first one where it is empty.

        Raises:
            LookupError: There is no such class or part.
            ValueError: It is no question, or one to another classifier.
        """
        if not query.strip("?"):
            return self.first
        question = Question.from_query(query, self.classifier, self.about)
        if question.part not in self.parts:
            near = get_close_matches(question.part[:LONGEST], self.parts, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(list(self.parts)[:20])}"
            raise LookupError(f"this classifier has no layer {quoted(question.part)} that can be asked: {hint}")
        return question

    def link(self, question: Question) -> str:
        """The query of a link that asks a question again."""
        return question.query(self.classifier.classes, self.about)

    def knows(self, part: str) -> bool:
        """Whether a part was examined lately."""
        return part in self._examinations

    def examination(self, part: str, on_progress: OnProgress | None = None) -> Examination:
        """What is known of a part, found out now where it is not."""

        def made() -> Examination:
            return examine(self.classifier, part, self.pictures, self.split, on_progress=on_progress)

        return self._examinations.get(part, made, self.lock)

    def tiles(self, examination: Examination, numbers: Sequence[int]) -> dict[int, str]:
        """Pictures as addresses that hold them."""
        missing = [number for number in numbers if number not in self._tiles]
        found = tiles_of(examination, missing)
        for number, tile in found.items():
            self._tiles.keep(number, tile)
        return {number: found.get(number) or self._tiles.find(number) or "" for number in numbers}

    def cards(self, examination: Examination, answer: Answer, wish: Wish) -> list[dict[str, Any]]:
        """The units that the page shows: what each does, and where it is active in pictures."""
        question = answer.question
        lights = examination.lights(_looked_at(examination, answer)).numpy()
        matters = np.nan_to_num(examination.matters[:, question.number])
        ranks = {LIGHTS: -lights, MATTERS: -matters}.get(wish.order, np.arange(examination.units))
        order = np.argsort(ranks, kind="stable").tolist()
        first = [] if wish.find is None or not 0 <= wish.find < examination.units else [wish.find]
        shown = list(dict.fromkeys((*first, *order)))[: wish.cards]
        pairs = {unit: self._pictures_of(examination, answer, unit) for unit in shown}
        drawn = self._drawn(examination, [(unit, number) for unit in shown for number in pairs[unit]])
        return [
            {
                "unit": unit,
                "lights": round(float(lights[unit]), 2),
                "matters": round(float(matters[unit]), 4),
                "lit": str(examination.lit(unit, question.subset.of)),
                "tiles": [drawn[unit, number] for number in pairs[unit]],
            }
            for unit in shown
        ]

    def offers(self, question: Question, on_progress: OnProgress | None = None) -> list[Offer]:
        """Parts of the class that is asked about, each with the units that it is lost without."""
        one = self.examination(question.part)
        return self._offers.get(
            (question.part, question.number),
            lambda: offers_for(one, question.number, on_progress=on_progress),
            self.lock,
        )

    def known_offers(self, question: Question) -> list[Offer] | None:
        """The same, where they were looked for already."""
        return self._offers.find((question.part, question.number))

    def report(self, examination: Examination, answer: Answer) -> str:
        """The answer as a page that needs nothing else."""
        title = f"What {self.options.model} loses"
        return answer_page(examination, answer, title=title, command=self.command)

    def patch(self, question: Question) -> Patch:
        """The units of a question off for good.

        Raises:
            ValueError: None is off, or no single layer switches them off.
        """
        if not question.off:
            raise ValueError("tick at least one unit first: a patch switches units off for good")
        return off_patch(self.classifier, question.part, question.off, self.pictures.images(self.split.test[:TRIED]))

    @property
    def command(self) -> str:
        """What starts an editor that answers the same questions."""
        given = self.options
        words = ["rewrite", "app", given.model]
        for name, value in (("architecture", given.architecture), ("pictures", given.pictures)):
            words += [] if value is None else [f"--{name}", value]
        return shlex.join([*words, "--training", str(given.training), "--test", str(given.test)])

    def _drawn(self, examination: Examination, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
        part = examination.part
        missing = [pair for pair in pairs if (part, *pair) not in self._heats]
        found = dict(zip(missing, map(address_of, heats(examination, missing)), strict=True))
        for pair, tile in found.items():
            self._heats.keep((part, *pair), tile)
        return {pair: found.get(pair) or self._heats.find((part, *pair)) or "" for pair in pairs}

    def _pictures_of(self, examination: Examination, answer: Answer, unit: int) -> list[int]:
        """The picture that is looked at, or that of those asked about which lights a unit most; then its top ones."""
        at = answer.question.at
        if at is None:
            peaks = examination.test.peaks[:, unit].masked_fill(~answer.chosen, -torch.inf)
            at = examination.test.numbers[int(peaks.argmax())]
        return [at, *(number for number in tops(examination, unit, TOPS + 1) if number != at)][: TOPS + 1]


def _looked_at(examination: Examination, answer: Answer) -> torch.Tensor:
    at = answer.question.at
    return answer.chosen if at is None else torch.tensor(examination.test.numbers) == at


def offered(offers: Iterable[Offer] | None, inside: str) -> list[dict[str, Any]] | None:
    """Parts of a class as the board shows them."""
    if offers is None:
        return None
    return [
        {
            "text": f"{each.pictures} of {inside} that light unit {each.condition.unit}",
            "lit": str(each.condition),
            "off": list(each.units),
        }
        for each in offers
    ]
