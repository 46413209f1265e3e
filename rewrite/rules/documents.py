"""Rules as JSON documents, of generators and of classifiers: told apart by their schema."""

import json
from typing import Any

from rewrite.rules.entries import typed, whole
from rewrite.storage.quoting import lacking

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


def name_in(text: str) -> str:
    """The name of a rule of either kind.

    Raises:
        ValueError: It is no document of a rule.
    """
    return typed(document_in(text, OF_GENERATOR, OF_CLASSIFIER).get("name"), str, "name")
