"""The editor's server: on this machine only, and only for its own page.

`serving` takes what the command line says, opens the models, assembles the page (`pages.py`) and serves it. All
protection against other programs and sites is here.
"""

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from apps.editor import heap
from apps.editor.guarded import LARGEST_UPLOAD, Guarded, WithoutSchema, answer, close_idle
from apps.editor.options import MOST_TILES, Options
from rewrite.storage.scratch import scratch

if TYPE_CHECKING:
    from gradio import Blocks

ADDRESS = "127.0.0.1"
HOSTS = (ADDRESS, "localhost")
MOST_SESSIONS = 64
ALIVE = "/alive"
# How often Gradio looks whether an event waits, in seconds. Its own 1 ms takes 6 % of a core while nothing is asked.
LOOK_EVERY = 0.01
# No telemetry. huggingface_hub reads its variable on import, so that it stays silent if it is first imported here.
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
PROXIES = [name for plain in ("http_proxy", "https_proxy", "all_proxy") for name in (plain, plain.upper())]
_running = threading.Lock()


@contextmanager
def serving(options: Options) -> Iterator[str]:
    """Serve the editor inside a `with` block, which gets the page's address; it leaves nothing behind.

    Raises:
        FileNotFoundError: There is no such model.
        ValueError: The model cannot be opened, the port is taken, or this process serves an editor already.
    """
    if options.tiles is not None and not 1 <= options.tiles <= MOST_TILES:
        raise ValueError(f"the wall shows 1 to {MOST_TILES} seeds, got {options.tiles}")
    if options.port is not None and not 1 <= options.port <= 65535:
        raise ValueError(f"a port lies between 1 and 65535, got --port {options.port}")
    heap.share()
    with _alone(), environment(**QUIET), scratch() as private:
        # Imported before the folder is set: Gradio's modules keep the folder that they find, and this one is deleted.
        # Nor does a proxy of the environment concern it: Gradio asks its own page alone.
        with environment(**dict.fromkeys(PROXIES)):
            from apps.editor.pages import page_of

        # Gradio serves every file in this folder.
        with environment(GRADIO_TEMP_DIR=str(private)):
            page = page_of(options, private)
            try:
                with environment(**dict.fromkeys(PROXIES)):
                    url = _launched(page.blocks, options, page.look)
                if hasattr(page.blocks, "_queue"):  # inside of Gradio: another version may do without
                    page.blocks._queue.sleep_when_free = LOOK_EVERY
                with close_idle(page.blocks.server):
                    yield url
            finally:
                page.models.stop()
                page.blocks.close(verbose=False)


@contextmanager
def _alone() -> Iterator[None]:
    """Refuse a second editor in this process: both would need their own environment variables."""
    if not _running.acquire(blocking=False):
        raise ValueError("this process serves an editor already: end it first")
    try:
        yield
    finally:
        _running.release()


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Set environment variables, or none, inside a `with` block; afterwards they are what they were."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _launched(page: "Blocks", options: Options, look: Mapping[str, Any]) -> str:
    """Start the server of a page; returns its address."""
    try:
        _, url, _ = page.launch(
            server_name=ADDRESS,
            server_port=options.port,
            share=False,
            inbrowser=False,
            quiet=True,
            prevent_thread_lock=True,
            show_error=True,
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            footer_links=[],
            auth=options.auth,
            max_file_size=LARGEST_UPLOAD,
            state_session_capacity=MOST_SESSIONS,
            app_kwargs={"middleware": guards(secrets.token_hex(8)), "docs_url": None, "redoc_url": None},
            **look,
        )
    except OSError:
        port = "any port from 7860 on" if options.port is None else f"port {options.port}"
        raise ValueError(f"the editor cannot listen at {ADDRESS}, {port}: other programs do") from None
    return url


def guards(token: str) -> Sequence:
    """The middleware: only requests to this machine, from its own page; and the answer that the server runs.

    Args:
        token: A text that differs between runs of the server.
    """
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    return [
        Middleware(Guarded),
        Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS)),
        Middleware(OwnPages),
        Middleware(WithoutSchema),
        Middleware(Alive, token=token),
    ]


class OwnPages:
    """Refuses requests from pages of another origin."""

    def __init__(self, app: Callable):
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        """Pass a request on, or answer 403."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope.get("headers", ())}
        origin = headers.get("origin")
        if (origin is not None and urlsplit(origin).netloc != headers.get("host")) or (
            headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
        ):
            await answer(send, 403, "this editor answers its own page only")
        else:
            await self.app(scope, receive, send)


class Alive:
    """Tells an open page which run of the server it is connected to."""

    def __init__(self, app: Callable, token: str):
        self.app, self.token = app, token

    async def __call__(self, scope, receive, send) -> None:
        """Answer `/alive`, or pass the request on."""
        if scope["type"] == "http" and scope["path"] == ALIVE:
            await answer(send, 200, self.token)
        else:
            await self.app(scope, receive, send)
