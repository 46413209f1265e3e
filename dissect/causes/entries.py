"""Entries of a document that anybody may have written: of the type and in the range that they must be, or refused."""

import math
from collections.abc import Mapping
from typing import Any

from rewrite.storage.quoting import quoted, writable

LONGEST_TEXT = 100


def require(holds: bool, rule: str, given: Any = None) -> None:
    """Refuse what breaks a rule.

    Raises:
        ValueError: The rule does not hold.
    """
    if not holds:
        raise ValueError(rule if given is None else f"{rule}, got {quoted(given)}")


def only(document: Mapping[str, Any], names: set[str], what: str) -> None:
    """Refuse entries with other names."""
    unknown = [str(name)[:40] for name in sorted(set(document) - names)]
    require(not unknown, f"{what} has {', '.join(sorted(names))}", unknown[:1])


def text(value: Any, name: str) -> str:
    """A short text."""
    require(isinstance(value, str) and len(value) <= LONGEST_TEXT, f"{name} is a text", type(value).__name__)
    require(writable(value), f"{name} is a text of UTF-8", value)
    return value


def whole(value: Any, name: str) -> int:
    """A whole number that JSON holds exactly."""
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    require(fits, f"{name} is a whole number", type(value).__name__)
    return value


def number(value: Any, name: str) -> float:
    """A finite number."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53
    require(fits and math.isfinite(value), f"{name} is a finite number", type(value).__name__)
    return float(value)
