"""A plugin of pytest: types are checked as functions are called, and shapes where a signature has them.

jaxtyping's own option for pytest keeps a book of shapes in every call, which makes tests of what reads a pickle byte by
byte ten times as long, though most functions have no shapes in their signatures.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jaxtyping
from beartype import beartype

PACKAGES = ("rewrite", "dissect")
# What reads a pickle byte by byte calls these for each of its bytes: checks would take most of the time.
BYTEWISE = {f"rewrite.checkpoints.{name}" for name in ("cursor", "budget", "stack", "pickle_keys")}
with_shapes = jaxtyping.jaxtyped


def checked(target: Any = None, *, typechecker: Callable) -> Any:
    """What the import hook puts on every function and class."""
    if target is None:
        return partial(checked, typechecker=typechecker)
    if target.__module__ in BYTEWISE:
        return target
    if inspect.isfunction(target) and not any(map(quotes, target.__annotations__.values())):
        return beartype(target)
    return with_shapes(target, typechecker=typechecker)


def quotes(hint: Any) -> bool:
    """Whether a hint has a shape, or the name of a class that only type checkers import, which jaxtyping lets pass."""
    return "'" in inspect.formatannotation(hint)


jaxtyping.jaxtyped = checked
jaxtyping.install_import_hook(PACKAGES, "beartype.beartype")
