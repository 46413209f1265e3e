"""Entries of a JSON document that anybody may have written: of the type that they must be, or refused in a sentence.

All functions raise ValueError for what they refuse.
"""

from typing import Any

from rewrite.storage.quoting import quoted, writable

MOST_DIGITS = 20
NAMES = {str: "a text", int: "a whole number", list: "a list", dict: "an object"}


def whole(digits: str) -> int:
    """A whole number that a document writes out; Python takes long for very long ones."""
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number has at most {MOST_DIGITS} digits, got {len(digits)}")
    return int(digits)


def pair(value: Any, name: str) -> tuple[int, int]:
    """Two whole numbers."""
    value = typed(value, list, name)
    if len(value) != 2:
        raise ValueError(f"{name} must be two numbers, got {len(value)}")
    return typed(value[0], int, name), typed(value[1], int, name)


def number(value: Any, name: str) -> float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number, got {type(value).__name__}")
    return float(value)


def typed(value: Any, kind: type, name: str) -> Any:
    """A value of a type."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name} must be {NAMES[kind]}, got {'nothing' if value is None else type(value).__name__}")
    if isinstance(value, str) and not writable(value):
        raise ValueError(f"{name} must be a text that can be written in UTF-8, got {shown(value)}")
    return value


def only(document: dict, known: set[str], name: str) -> None:
    """Refuse a document with other fields than those that are known."""
    unknown = sorted(set(document) - known)
    if unknown:
        raise ValueError(f"{name} has no field {shown(unknown[0])}")


def require(holds: bool, rule: str, given: Any) -> None:
    """Refuse what breaks a rule."""
    if not holds:
        raise ValueError(f"{rule}, got {shown(given)}")


def shown(given: Any) -> str:
    """A given value on one short line, whatever it holds."""
    return quoted(given)
