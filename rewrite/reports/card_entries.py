"""What stands in the cells of a model card: figures of reports that may hold anything, and names in quotes."""

import json
from typing import Any

from markupsafe import Markup

from rewrite.reports.markdown import plain
from rewrite.reports.rendering import number

LARGEST = 1e15
UNKNOWN = "not measured"


def figure(value: Any, form: str = ".3g") -> Markup:
    """A figure, or that there is none: a report may hold anything."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        return Markup(UNKNOWN)
    return Markup(number(value, form))


def interval(value: Any) -> Markup:
    """The two ends of an interval, or nothing."""
    if not isinstance(value, list) or len(value) != 2 or any(figure(each) == UNKNOWN for each in value):
        return Markup("")
    return Markup(f"{figure(value[0])} to {figure(value[1])}")


def quoted_text(value: str, *, ascii_only: bool = False) -> Markup:
    """A text in quotes as JSON, which YAML and Python read alike."""
    return Markup(json.dumps(plain(value), ensure_ascii=ascii_only))
