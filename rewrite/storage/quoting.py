"""What others wrote, as it may stand in a message: short, on one line, and without characters that steer a terminal."""

import reprlib
from typing import Any

LONGEST = 80

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = LONGEST
_short.maxlevel = 2
_short.maxlist = _short.maxtuple = _short.maxdict = 4


def quoted(value: Any) -> str:
    """A value, of whatever size and depth, in at most 80 characters."""
    try:
        text = _short.repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def named(value: Any) -> str:
    """A name without quotes, if it looks like one."""
    is_name = isinstance(value, str) and len(value) <= LONGEST and value.isprintable()
    return value if is_name else quoted(value)


def plain(text: str) -> str:
    """A text of several parts with its control characters escaped."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
