"""Texts of someone else in Markdown: shown as they are, and never read as Markdown or HTML."""

import re
from typing import Any

from markupsafe import Markup

LONGEST = 300
MARKS = re.compile(r"([\\`*_{}\[\]()#+.!|~:@$^=]|^-)")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def plain(value: Any) -> str:
    """A text on one line, of characters that can be seen; long ones are cut."""
    text = "".join(sign if sign.isprintable() else " " for sign in str(value))
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def escape(value: Any) -> Markup:
    """A text as Markdown that shows it and does nothing else; what is Markdown already stays."""
    if isinstance(value, Markup):
        return value
    marked = MARKS.sub(r"\\\1", plain(value))
    return Markup("".join(ENTITIES.get(sign, sign) for sign in marked))


def code(value: Any) -> Markup:
    """A name as code; a code span knows no escapes, so that what would end it is left out."""
    return Markup(f"`{plain(value).replace('`', '').replace('|', '') or 'not stated'}`")
