"""Requests of the easel and of the list of rules, read from the untrusted documents that the page sends.

While the server works, Gradio keeps only the last event of a component. Its value therefore repeats the requests before
it, each with a number, its turn: `{"requests": [{"do": "strength", "index": 0, "to": 0.7, "turn": 12}, …]}`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from apps.editor.marks import whole

MOST_REQUESTS = 20
LATEST = 2**31


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        do: What to do.
        turn: The number of the request.
        index: The rule or stroke that it is about.
        to: The new state, strength, name, place or stroke.
        live: Whether the slider still moves.
    """

    do: str
    turn: int
    index: int = 0
    to: Any = None
    live: bool = False


def read_requests(document: Any, after: int, known: Collection[str], read: Callable[[str, dict], Any]) -> list[Request]:
    """Read the requests that were not carried out yet, in their order.

    Args:
        document: The value that the page sent.
        after: The turn of the last request that was carried out.
        known: The known values of `do`.
        read: Reads `to` from `do` and the whole entry; raises a ValueError if it is invalid.

    Raises:
        ValueError: The document is invalid; the message says why.
    """
    entries = document.get("requests") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MOST_REQUESTS:
        raise ValueError(f"the page sends at most {MOST_REQUESTS} requests, as a list")
    new = [entry for entry in entries if _turn(entry) > after]
    return sorted((_request(entry, known, read) for entry in new), key=lambda request: request.turn)


def _turn(entry: Any) -> int:
    turn = entry.get("turn") if isinstance(entry, dict) else None
    if not whole(turn) or not 0 < turn <= LATEST:
        raise ValueError("a request is an object with a number")
    return turn


def _request(entry: dict, known: Collection[str], read: Callable[[str, dict], Any]) -> Request:
    do, index = entry.get("do"), entry.get("index", 0)
    if not isinstance(do, str) or do not in known:
        raise ValueError(f"the page asks for one of {', '.join(known)}")
    if not whole(index):
        raise ValueError("a rule or a stroke is named by its number")
    return Request(do, entry["turn"], index, read(do, entry), entry.get("live") is True)
