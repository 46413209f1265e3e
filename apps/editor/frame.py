"""What all tabs share, and how they register their handlers.

A tab is a class that `page.py` calls with a `Page` inside a `gr.Tab`. It creates its components and registers its
handlers with `Page.connect`. A handler gets the session first, changes it in place, and returns a dictionary of new
values by component; a generator may yield several. Errors of the library are shown on the page as one sentence.

Each handler runs in one of these queues:

    IN_TURN  one at a time for the whole server: handlers that run the generator, or change the rules or the model.
    AT_ONCE  four at a time, also while other handlers run: they read or change the draft, or stop work, and never wait
             for the generator. (Only a heat-map may, for images that were not run before.)
    WORK  one at a time for the whole server, beside the others: what takes long, or may on a large network. What it
             changes of a session it changes under the session's lock, at the end.
    DRAW  walls that take time, each until it is drawn or something newer is to be drawn.
    PRICE  one at a time, beside the others: what is computed ahead, so that Rewrite does not wait behind all of it.
    CURVE, EFFECTS  one at a time, beside the others: long work that releases the generator after every step.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.blocks import Block
from gradio.events import Dependency

from apps.editor.models import Models
from apps.editor.session import Session
from apps.editor.work import Stopped
from rewrite.reports.rendering import render
from rewrite.storage.quoting import plain, without_addresses

Updates = dict[Block, Any]
Handler = Callable[..., Updates | Iterator[Updates]]
# The updates after work has ended early: of the session, and of a text that says that it was stopped, or nothing.
Reset = Callable[[Session, str], Updates]

LINE = Path(__file__).parent / "templates" / "line.html"
PROGRESS = Path(__file__).parent / "templates" / "progress.html"
REFUSED = (ValueError, LookupError, OSError, MemoryError)
# What Python shows of an object that does not say what it is.
STOPPED = "Stopped; nothing was kept."


class Queue(NamedTuple):
    """A queue of handlers: its name, how many run at once, and Gradio's treatment of events that come meanwhile."""

    name: str
    at_once: int = 1
    trigger: str = "always_last"


IN_TURN, AT_ONCE = Queue("model"), Queue("marks", 4)
WORK, DRAW = Queue("work"), Queue("draw", 16, trigger="multiple")
PRICE, CURVE, EFFECTS = Queue("price"), Queue("curve"), Queue("effects", trigger="once")


@dataclass(frozen=True)
class Page:
    """What a tab needs from the page.

    Attributes:
        name: Prefix of the endpoints of the tab's handlers.
        models: The models of the server.
        private: The folder of files that the page may download.
        session: The state of the browser session.
        opened: Changes when the session opens another model.
        stacked: Changes when a tab other than the first changed the stack of rules.
        tab: The tab itself, for its event `select`.
        load: The event of a page that was opened.
    """

    name: str
    models: Models
    private: Path
    session: gr.State
    opened: gr.State
    stacked: gr.State
    tab: gr.Tab
    load: Callable[..., Dependency]

    def new(self) -> Session:
        """A new session, for the initial values of components."""
        return Session(self.models)

    def connect(
        self,
        event: Callable[..., Dependency],
        handler: Handler,
        inputs: Sequence[Block] = (),
        outputs: Sequence[Block] = (),
        queue: Queue = IN_TURN,
        reset: Reset | None = None,
    ) -> Dependency:
        """Register a handler.

        Args:
            event: An event of a component, or `then` of another registration.
            handler: A function named `on_…`.
            inputs: The handler's arguments after the session.
            outputs: All components that it may update.
            queue: The queue that it runs in.
            reset: The updates after Stop or an error has ended it; none if left out.
        """
        return event(
            reporting(handler, reset),
            [self.session, *inputs],
            list(outputs),
            api_name=f"{self.name}_{handler.__name__.removeprefix('on_')}",
            concurrency_id=queue.name,
            concurrency_limit=queue.at_once,
            trigger_mode=queue.trigger,
            show_progress="hidden",
        )

    def connect_stop(self, button: gr.Button, reset: Reset, output: Block) -> None:
        """Register a button that stops all work of the session."""

        def on_stop(session: Session) -> Updates:
            session.stop()
            return reset(session, STOPPED)

        self.connect(button.click, on_stop, [], [output], AT_ONCE)


def reporting(handler: Handler, reset: Reset | None = None) -> Handler:
    """A handler whose errors are shown on the page as one sentence, and that keeps the session when it is done."""

    @functools.wraps(handler)
    def once(*given: Any) -> Any:
        with errors_shown(), _kept(given[0]):
            return handler(*given)

    @functools.wraps(handler)
    def steps(*given: Any) -> Iterator[Any]:
        with errors_shown(), _kept(given[0]):
            try:
                yield from handler(*given)
            except Stopped:
                if reset is not None:
                    yield reset(given[0], STOPPED)
            except Exception:
                # What was said of the work is not true any more.
                if reset is not None:
                    yield reset(given[0], "")
                raise

    return steps if inspect.isgeneratorfunction(handler) else once


@contextmanager
def _kept(session: Session) -> Iterator[None]:
    try:
        yield
    finally:
        session.keep()


@contextmanager
def errors_shown() -> Iterator[None]:
    """Errors inside a `with` block are shown on the page as one sentence."""
    try:
        yield
    except Stopped:
        raise gr.Error(STOPPED, print_exception=False) from None
    except gr.Error:
        raise
    except Exception as error:  # what is none of the library's refusals is a fault, which the terminal shows whole
        raise gr.Error(escape(sentence(error)), print_exception=not isinstance(error, REFUSED)) from None


def message(text: str, *, soft: bool = False) -> str:
    """A line of text as HTML, which screen readers read out when it changes; a soft one is of less weight."""
    return render(LINE, text=text, soft=soft, role="status")


def hint(text: str) -> str:
    """A line of text as HTML that does not change, and is of less weight."""
    return render(LINE, text=text, soft=True, role=None)


def progress(done: float, text: str) -> str:
    """A progress bar as HTML; `done` is 0 to 1."""
    return render(PROGRESS, done=done, text=text)


def sentence(error: BaseException) -> str:
    """The message of an error, on one line of at most 400 characters."""
    text = str(error.args[-1] if isinstance(error, OSError) and error.strerror else error.args[0] if error.args else "")
    return plain(without_addresses(" ".join(text.split())))[:400] or "that did not work"
