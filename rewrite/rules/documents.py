"""Rules as JSON documents, of generators and of classifiers: told apart by their schema."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rewrite.rules.entries import typed, whole
from rewrite.storage import files
from rewrite.storage.quoting import lacking

T = TypeVar("T")
OF_GENERATOR, OF_CLASSIFIER = "rewrite-rule/1", "rewrite-classifier-rule/1"


def document_in(text: str, *schemas: str) -> dict[str, Any]:
    """A document of one of some schemas.

    Raises:
        ValueError: It is not JSON, or of none of them.
    """
    try:
        document = json.loads(text, parse_int=whole)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(lacking(error)) from None
    if not isinstance(document, dict) or document.get("schema") not in schemas:
        named = " or ".join(f'"schema": "{schema}"' for schema in schemas)
        raise ValueError(f"the document must say {named}")
    return document


def loaded(path: str | Path, read: Callable[[str], T], *, called: str, wrong: str, most: int) -> T:
    """What a function reads from the text of a file.

    Args:
        path: The file.
        read: Reads a document.
        called: What such a file is called, for the refusal of a larger one.
        wrong: What is said of a file that is none.
        most: How many bytes it has at most.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or `read` refuses it; the message says what is wrong.
    """
    path = files.existing(path)
    try:
        if path.stat().st_size > most:
            raise ValueError(f"{called} has at most {most} bytes")
        return read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"{path} {wrong}: {lacking(error)}") from None


def name_in(text: str) -> str:
    """The name of a rule of either kind.

    Raises:
        ValueError: It is no document of a rule.
    """
    return typed(document_in(text, OF_GENERATOR, OF_CLASSIFIER).get("name"), str, "name")
