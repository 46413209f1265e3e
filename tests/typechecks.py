"""A plugin of pytest: types are checked as functions are called, and shapes where a signature has them.

jaxtyping's own option for pytest keeps a book of shapes in every call, which makes tests of what reads a pickle byte by
byte ten times as long, though most functions have no shapes in their signatures. Where they have, a call is checked
unless one whose arguments and whose answer had the same types and shapes was: checking all of them takes longer than
most of what they do.
"""

import inspect
import threading
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import cache, partial, wraps
from types import FunctionType
from typing import Any

import jaxtyping
import numpy as np
from beartype import beartype
from torch import Tensor

PACKAGES = ("rewrite", "dissect")
# What reads a pickle byte by byte calls these for each of its bytes: checks would take most of the time.
BYTEWISE = {f"rewrite.checkpoints.{name}" for name in ("cursor", "budget", "stack", "pickle_keys")}
# So many entries of a list, a tuple or a dict say what it holds.
ENTRIES = 16
HOLDING = (Tensor, np.ndarray, tuple, list, dict, type)
with_shapes = jaxtyping.jaxtyped


def checked(target: Any = None, *, typechecker: Callable) -> Any:
    """What the import hook puts on every function and class."""
    if target is None:
        return partial(checked, typechecker=typechecker)
    # A function inside another is made, and would have its checks made, at every call of that one.
    if target.__module__ in BYTEWISE or "<locals>" in target.__qualname__:
        return target
    if inspect.isfunction(target):
        if not any(map(quotes, target.__annotations__.values())):
            return beartype(target)
        return once_of_a_kind(target, typechecker)
    if inspect.isclass(target) and is_dataclass(target):
        if inspect.isfunction(vars(target).get("__init__")):
            target.__init__ = refusing_first(target.__init__, checked(target.__init__, typechecker=typechecker))
        return target
    return with_shapes(target, typechecker=typechecker)


def refusing_first(init: Callable, check: Callable) -> Callable:
    """A constructor that is checked, where what it refuses itself comes before what a check finds."""

    @wraps(init)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            check(*args, **kwargs)
        except Exception:
            init(*args, **kwargs)
            raise

    return call


def quotes(hint: Any) -> bool:
    """Whether a hint has a shape, or the name of a class that only type checkers import, which jaxtyping lets pass."""
    return "'" in inspect.formatannotation(hint)


def once_of_a_kind(target: FunctionType, typechecker: Callable) -> Callable:
    """A function whose calls are checked unless one of the same kind was: see `kind`."""
    answers, given = dict[tuple, set](), threading.local()

    def answer(*args: Any, **kwargs: Any) -> Any:
        return given.answer if hasattr(given, "answer") else target(*args, **kwargs)

    @cache
    def check() -> Callable:
        # Names in hints that are texts are looked up where the function was written.
        placed = FunctionType(answer.__code__, target.__globals__, target.__name__, None, answer.__closure__)
        return with_shapes(wraps(target)(placed), typechecker=typechecker)

    @wraps(target)
    def call(*args: Any, **kwargs: Any) -> Any:
        kinds = (tuple(map(kind, args)), tuple([(name, kind(value)) for name, value in kwargs.items()]))
        known = answers.get(kinds)
        if known is None:
            found = check()(*args, **kwargs)
            answers.setdefault(kinds, set()).add(kind(found))
            return found
        found = target(*args, **kwargs)
        if (what := kind(found)) not in known:
            given.answer = found
            try:
                check()(*args, **kwargs)
            finally:
                del given.answer
            known.add(what)
        return found

    return call


def kind(value: Any) -> Any:
    """What a check of a value hangs on: its type, and the shape of a tensor or the kinds of what it holds."""
    sort = type(value)
    if not isinstance(value, HOLDING):
        return sort
    if isinstance(value, Tensor):
        return sort, value.dtype, value.shape
    if isinstance(value, np.ndarray):
        return sort, value.dtype.str, value.shape
    if isinstance(value, tuple | list):
        return sort, len(value), tuple(map(kind, value[:ENTRIES]))
    if isinstance(value, dict):
        return sort, len(value), tuple([(kind(key), kind(each)) for key, each in [*value.items()][:ENTRIES]])
    return value


jaxtyping.jaxtyped = checked
jaxtyping.install_import_hook(PACKAGES, "beartype.beartype")
