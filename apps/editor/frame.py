"""What every tab stands on: what the tabs share, and how a handler is wrapped and registered.

The seam: a tab is a function `build(page: Page)`, called inside its own `gr.Tab` by `page.py`. Its handlers are
registered with `inputs=[page.session, …]` and wrapped in `said`, so that what the library refuses becomes one sentence
on the page; they change the session in place and do not give it back. A handler that runs the generator, or changes the
session's stack, takes `**IN_TURN`: one of them runs at a time. One that must answer at once, and works on what is kept
already, takes `**AT_ONCE`.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from apps.editor.model import Models, Stopped
from apps.editor.session import Session

REFUSED = (ValueError, LookupError, OSError, MemoryError)
IN_TURN = {"concurrency_id": "model", "concurrency_limit": 1, "trigger_mode": "always_last", "show_progress": "hidden"}
AT_ONCE = {"concurrency_id": "marks", "concurrency_limit": 4, "trigger_mode": "always_last", "show_progress": "hidden"}


@dataclass(frozen=True)
class Page:
    """What the tabs share.

    Attributes:
        models: The models of the server.
        private: The folder that files for the page may lie in.
        session: The state of the browser session, first among the inputs of a handler.
        opened: Changes whenever the session looks at another model: tabs show what is new then.
    """

    models: Models
    private: Path
    session: gr.State
    opened: gr.State

    def new(self) -> Session:
        """What a page shows before anyone did anything."""
        return Session(self.models)


def said(handler: Callable) -> Callable:
    """A handler whose refusals are one sentence on the page; a stopped one ends in silence."""
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def steps(*given: Any) -> Iterator[Any]:
            try:
                yield from handler(*given)
            except Stopped:
                return
            except REFUSED as error:
                raise gr.Error(escape(sentence(error)), print_exception=False) from None

        return steps

    @functools.wraps(handler)
    def once(*given: Any) -> Any:
        try:
            return handler(*given)
        except REFUSED as error:
            raise gr.Error(escape(sentence(error)), print_exception=False) from None

    return once


def sentence(error: BaseException) -> str:
    """What an error says, on one line of bearable length."""
    text = str(error.args[-1] if isinstance(error, OSError) and error.strerror else error.args[0] if error.args else "")
    return " ".join(text.split())[:400] or "that did not work"
