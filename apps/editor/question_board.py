"""The board of questions: a component to choose a class, pictures and units that are off.

Properties: `layers` (`[{"name": "relu5", "units": 128}, …]`), `classes` (names), `question` (`{"layer": "relu5",
"class": "domes", "off": [3], "of": "domes" or null, "named": null, "lit": ["12>0.5"], "only": null, "at": null}`),
`units` (`[{"unit": 3, "lights": 1.2, "matters": 0.1, "lit": "3>0.5", "tiles": [url, …]}, …]`), `order`, `suggested`
(the units that matter most for the class), `offers` (parts of the class: `[{"text": "13 of 7", "lit": "12>0.5", "off":
[12, 1]}, …]`, or null), `refused` (why the last wish was not fulfilled), `link`, `file` (for the browser to save) and
`turn`. The event `input` brings a wish (`Wish`).
"""

from dataclasses import dataclass
from typing import Any

from apps.editor.component import ScriptedComponent
from apps.editor.marks import whole
from dissect.questions.question import LONGEST_LINK
from rewrite.storage.quoting import quoted

KNOWN = ASK, OFFERS, REPORT, PATCH = "ask", "look", "report", "patch"
ORDERS = LIGHTS, MATTERS, NUMBER = "lights", "matters", "number"
MOST_CARDS, FIRST_CARDS = 96, 12
EMPTY = {
    "layers": [],
    "classes": [],
    "question": None,
    "units": [],
    "order": LIGHTS,
    "suggested": [],
    "offers": None,
    "refused": "",
    "link": "",
    "file": None,
    "turn": 0,
}


class QuestionBoard(ScriptedComponent):
    """What is asked: a class, pictures, and units that are off."""

    def __init__(self, **properties: Any):
        super().__init__("question_board", "board", EMPTY, **properties)


@dataclass(frozen=True)
class Wish:
    """What the page wants.

    Attributes:
        query: The question, as the query of a link.
        do: One of `KNOWN`.
        order: The order of the units, one of `ORDERS`.
        cards: How many units are shown.
        find: A unit that is shown first; None for none.
        turn: The number of the wish.
    """

    query: str = ""
    do: str = ASK
    order: str = LIGHTS
    cards: int = FIRST_CARDS
    find: int | None = None
    turn: int = 0

    @classmethod
    def read(cls, document: Any) -> "Wish":
        """Read the value of a board, which is untrusted.

        Raises:
            ValueError: It is no wish; the message says why.
        """
        if not isinstance(document, dict):
            raise ValueError("the board of questions sends an object")
        given = {"do": ASK, "order": LIGHTS, "cards": FIRST_CARDS, "find": None, "turn": 0, **document}
        query, do, order = document.get("query"), given["do"], given["order"]
        if not isinstance(query, str) or len(query) > LONGEST_LINK:
            raise ValueError(f"a question is a text of at most {LONGEST_LINK} characters")
        if not isinstance(do, str) or do not in KNOWN or not isinstance(order, str) or order not in ORDERS:
            raise ValueError(
                f"the page asks for one of {', '.join(KNOWN)}, and orders units by one of {', '.join(ORDERS)}"
            )
        cards, find, turn = given["cards"], given["find"], given["turn"]
        if not whole(cards) or not 1 <= cards <= MOST_CARDS:
            raise ValueError(f"the page shows 1 to {MOST_CARDS} units, got {quoted(cards)}")
        if find is not None and not whole(find):
            raise ValueError("a unit is named by its number")
        if not whole(turn) or abs(turn) > 2**31:
            raise ValueError("a wish has a number")
        return cls(query, do, order, cards, find, turn)
