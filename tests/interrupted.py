"""Ctrl-C in the middle of work on numbered pictures."""

from collections.abc import Sequence
from typing import Any

import pytest


def end_at(moment: int, kind: type, method: str, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[int]]:
    """Press Ctrl-C once, at one of the calls of a method that takes numbers; gives the numbers of all calls."""
    whole, calls = getattr(kind, method), list[Sequence[int]]()

    def ended(self: Any, numbers: Sequence[int]) -> Any:
        calls.append(numbers)
        if len(calls) == moment:
            raise KeyboardInterrupt
        return whole(self, numbers)

    monkeypatch.setattr(kind, method, ended)
    return calls
