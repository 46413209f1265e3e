"""What every tab is built on: what the tabs share, and how a handler is registered.

A tab is a class that `page.py` calls with a `Page` inside its own `gr.Tab`. It makes its components and registers its
handlers with `Page.connect`. A handler gets the session first, changes it in place, and returns what the page shows, by
component; a generator may do so several times. What the library refuses becomes one sentence on the page.

A handler waits in one of these queues:

    IN_TURN  one at a time in the whole server: it runs the generator, or changes the stack of rules or the model.
    AT_ONCE  four at a time, also while others run: it reads and changes the draft, or presses Stop, and waits for no
             generator. (A heat-map that is on runs what was not run before.)
    CURVE, EFFECTS  one at a time, beside the others: long work whose every step lets go of the generator.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.events import Dependency

from apps.editor.models import Models
from apps.editor.session import Session
from apps.editor.work import Stopped
from rewrite.reports.rendering import render

Updates = dict[Block, Any]
Handler = Callable[..., Updates | Iterator[Updates]]

PROGRESS = Path(__file__).parent / "templates" / "progress.html"
REFUSED = (ValueError, LookupError, OSError, MemoryError)
STOPPED = "Stopped; nothing of it is kept."


def _queue(name: str, at_once: int = 1, trigger: str = "always_last") -> dict[str, Any]:
    return {
        "concurrency_id": name,
        "concurrency_limit": at_once,
        "trigger_mode": trigger,
        "show_progress": "hidden",
    }


IN_TURN = _queue("model")
AT_ONCE = _queue("marks", 4)
CURVE = _queue("curve")
EFFECTS = _queue("effects", trigger="once")


@dataclass(frozen=True)
class Page:
    """What a tab gets.

    Attributes:
        name: The name of the tab in those of its handlers' endpoints.
        models: The models of the server.
        private: The folder that files for the page may lie in.
        session: The state of the browser session.
        opened: Changes whenever the session looks at another model: tabs show what is new then.
        stacked: Changes whenever another tab than the first changed the stack of rules.
        tab: The tab itself: its event `select` says that somebody looks at it.
    """

    name: str
    models: Models
    private: Path
    session: gr.State
    opened: gr.State
    stacked: gr.State
    tab: gr.Tab

    def new(self) -> Session:
        """What a page shows before anyone did anything."""
        return Session(self.models)

    def connect(
        self,
        event: Callable[..., Dependency],
        handler: Handler,
        inputs: Sequence[Block] = (),
        outputs: Sequence[Block] = (),
        queue: Mapping[str, Any] = IN_TURN,
        when_stopped: Callable[[Session], Updates] | None = None,
    ) -> Dependency:
        """Register a handler.

        Args:
            event: What it follows: an event of a component, or `then` of another.
            handler: Its name is `on_` and what happened.
            inputs: What it gets after the session.
            outputs: All that it may change.
            queue: Where it waits.
            when_stopped: What the page shows where Stop ended it; nothing new if left out.
        """
        name = f"{self.name}_{handler.__name__.removeprefix('on_')}"
        shown = reporting(handler, when_stopped)
        return event(shown, [self.session, *inputs], list(outputs), api_name=name, **queue)


def reporting(handler: Handler, when_stopped: Callable[[Session], Updates] | None = None) -> Handler:
    """A handler whose refusals are one sentence on the page."""
    if not inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def once(*given: Any) -> Any:
            try:
                return handler(*given)
            except Stopped:
                raise gr.Error(STOPPED, print_exception=False) from None
            except REFUSED as error:
                raise gr.Error(escape(sentence(error)), print_exception=False) from None

        return once

    @functools.wraps(handler)
    def steps(*given: Any) -> Iterator[Any]:
        try:
            yield from handler(*given)
        except Stopped:
            if when_stopped is not None:
                yield when_stopped(given[0])
        except REFUSED as error:
            raise gr.Error(escape(sentence(error)), print_exception=False) from None

    return steps


def progress(done: float, text: str) -> str:
    """How far work is, 0 to 1, as HTML."""
    return render(PROGRESS, done=done, text=text)


def sentence(error: BaseException) -> str:
    """What an error says, on one line of bearable length."""
    text = str(error.args[-1] if isinstance(error, OSError) and error.strerror else error.args[0] if error.args else "")
    return " ".join(text.split())[:400] or "that did not work"
