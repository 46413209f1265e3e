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
        stacked: Changes whenever another tab than the first changed the stack of rules.
        tab: The tab that is being built: its event `select` says that somebody looks at it.
    """

    models: Models
    private: Path
    session: gr.State
    opened: gr.State
    stacked: gr.State
    tab: gr.Tab

    def new(self) -> Session:
        """What a page shows before anyone did anything."""
        return Session(self.models)


def said(handler: Callable, stopped: Callable[[Session], Any] | None = None) -> Callable:
    """A handler whose refusals are one sentence on the page.

    Args:
        handler: The handler; its first argument is the session.
        stopped: What the page shows where somebody pressed Stop; nothing new if left out.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def steps(*given: Any) -> Iterator[Any]:
            try:
                yield from handler(*given)
            except Stopped:
                if stopped is not None:
                    yield stopped(given[0])
            except REFUSED as error:
                raise gr.Error(escape(sentence(error)), print_exception=False) from None

        return steps

    @functools.wraps(handler)
    def once(*given: Any) -> Any:
        try:
            return handler(*given)
        except Stopped:
            raise gr.Error("Stopped; nothing of it is kept.", print_exception=False) from None
        except REFUSED as error:
            raise gr.Error(escape(sentence(error)), print_exception=False) from None

    return once


def only(number: int, of: int, text: Callable[[Session], str]) -> Callable[[Session], tuple]:
    """A text for one of several outputs; the others stay what they are."""
    return lambda session: tuple(text(session) if output == number else gr.skip() for output in range(of))


def progress(done: float, text: str) -> str:
    """How far work is, 0 to 1, as HTML."""
    return f'<progress value="{done:.3f}" max="1"></progress><p class="soft" role="status">{escape(text)}</p>'


def sentence(error: BaseException) -> str:
    """What an error says, on one line of bearable length."""
    text = str(error.args[-1] if isinstance(error, OSError) and error.strerror else error.args[0] if error.args else "")
    return " ".join(text.split())[:400] or "that did not work"
