"""What others wrote, as it may stand in a message: short, on one line, and without characters that steer a terminal."""

import json
import re
import reprlib
from typing import Any

LONGEST = 80
LONGEST_REASON = 300
# Where an object lies in memory, in how Python shows it: no two runs say the same, and strangers need not know it.
ADDRESS = re.compile(r"(?: object)? at 0x[0-9a-fA-F]+(?=>)")

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = LONGEST
_short.maxlevel = 2
_short.maxlist = _short.maxtuple = _short.maxdict = 4


def quoted(value: Any) -> str:
    """A value, of whatever size and depth, in at most 80 characters."""
    try:
        text = without_addresses(_short.repr(value))
    except ValueError:  # a whole number of more digits than Python writes
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def without_addresses(text: str) -> str:
    """A text without the places of objects in memory: `<Rule object at 0x7f…>` is `<Rule>`."""
    return ADDRESS.sub("", text)


def named(value: Any) -> str:
    """A name without quotes, if it looks like one."""
    is_name = isinstance(value, str) and len(value) <= LONGEST and value.isprintable()
    return value if is_name else quoted(value)


def lacking(error: Exception) -> str:
    """What is wrong with a document, from the error of its reader."""
    if isinstance(error, KeyError):
        return f"it has no {quoted(error.args[0] if error.args else None)}"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON, from line {error.lineno}, column {error.colno} on"
    if isinstance(error, UnicodeError):
        return "it is not a text in UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if type(error) is ValueError:
        return without_addresses(plain(str(error)))[:LONGEST_REASON]
    return "a value in it is of the wrong kind"


def reason_of(error: Exception) -> str:
    """What another library says of a file, which may quote much of it."""
    text = without_addresses(plain(" ".join(str(error).split())))
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 3]}..."


def writable(text: str) -> bool:
    """Whether a text can be written in UTF-8: JSON may name halves of letters, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain(text: str) -> str:
    """A text of several parts with its control characters escaped."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
