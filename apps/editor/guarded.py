"""What every answer of the editor's server tells the browser, which routes it has, and how much it takes how slowly.

Gradio has routes for its own hub, its profiler and its schema, which no page of this editor needs.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

LARGEST_UPLOAD = 64 * 2**20
LARGEST_BODY = 16 * 2**20
PREFIX = "/gradio_api"
UPLOAD = f"{PREFIX}/upload"
# A request's body comes without longer pauses, and a connection asks for something at once.
PATIENCE = 20.0
POLICY = "; ".join(
    (
        "default-src 'self'",
        # Gradio's page holds scripts of its own, and components compile theirs.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        *("object-src 'none'", "base-uri 'self'", "form-action 'self'", "frame-ancestors 'none'"),
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
# After the prefix that Gradio may put before them.
CLOSED = (
    *("/openapi.json", "/docs", "/redoc", "/app_id", "/dev/", "/runs", "/run-history", "/monitoring", "/profiling"),
    *("/config", "/vibe-", "/undo-vibe-", "/process_recording", "/proxy=", "/deep_link", "/pwa_icon", "/token"),
)


# Gradio's page asks for its schema, and does without what is in it.
SCHEMA = "/info"
EMPTY = {"named_endpoints": {}, "unnamed_endpoints": {}}


class WithoutSchema:
    """Answers the question for Gradio's schema, which lists every handler of the page, with an empty one."""

    def __init__(self, app: Callable):
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        """Answer `/info`, or pass the request on."""
        asked = scope["type"] == "http" and scope["path"].removeprefix(PREFIX).rstrip("/") == SCHEMA
        await (answer(send, 200, EMPTY) if asked else self.app(scope, receive, send))


class Guarded:
    """Limits the bodies of requests, closes routes, and adds headers to each answer.

    Args:
        app: What answers.
        patience: For how many seconds the next part of a body may be waited for.
    """

    def __init__(self, app: Callable, patience: float = PATIENCE):
        self.app, self.patience = app, patience

    async def __call__(self, scope, receive, send) -> None:
        """Pass a request on, or answer 404, 408 or 413."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused: list[int] = []
        send_ours = _with_headers(send, refused)
        path = scope["path"].removeprefix(PREFIX)
        if any(path.startswith(closed) for closed in CLOSED):
            await answer(send_ours, 404, "this editor has no such page")
            return
        most = LARGEST_UPLOAD if scope["path"].rstrip("/") == UPLOAD else LARGEST_BODY
        sizes = [value for name, value in scope["headers"] if name == b"content-length"]
        if any(not size.isdigit() or int(size[:20]) > most for size in sizes):
            await answer(send_ours, 413, f"a request has at most {most} bytes")
            return
        try:
            await self.app(scope, _limited(receive, most, self.patience, refused), send_ours)
        except ValueError:
            if not refused:
                raise
            await answer(send_ours, refused[0], "the request is too long or too slow")


def _limited(receive: Callable, most: int, patience: float, refused: list[int]) -> Callable:
    """What comes of a request: no more than its limit, and no more slowly."""
    left, whole = most, False

    async def limited() -> dict[str, Any]:
        nonlocal left, whole
        if whole:  # what comes now is the end of the connection, for which streams wait
            return await receive()
        try:
            part = await asyncio.wait_for(receive(), patience)
        except TimeoutError:
            refused.append(408)
            raise ValueError("the rest of the request did not come") from None
        left -= len(part.get("body", b""))
        if left < 0:
            refused.append(413)
            raise ValueError(f"a request has at most {most} bytes")
        whole = not part.get("more_body", False)
        return part

    return limited


def _with_headers(send: Callable, refused: Sequence[int]) -> Callable:
    """What is answered, with our headers, and with the status of a refusal if there was one."""
    ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def send_ours(part: dict[str, Any]) -> None:
        if part["type"] == "http.response.start":
            status = refused[0] if refused else part["status"]
            part = {**part, "status": status, "headers": [*part.get("headers", ()), *ours]}
        await send(part)

    return send_ours


@contextmanager
def close_idle(server: Any, patience: float = PATIENCE) -> Iterator[None]:
    """Close connections that ask for nothing, inside of a `with` block, and at its end all of them.

    The server itself would wait for ever: for the former, and at its end for pages that wait for news.

    Args:
        server: Uvicorn's.
        patience: After how many seconds.
    """
    ended, since = threading.Event(), {}

    def look() -> None:
        while not ended.wait(patience / 8):
            now, open_now = time.monotonic(), list(server.server_state.connections)
            idle = {each for each in open_now if getattr(each, "cycle", None) is None and hasattr(each, "transport")}
            for gone in set(since) - idle:
                del since[gone]
            for each in idle:
                if now - since.setdefault(each, now) > patience:
                    each.loop.call_soon_threadsafe(each.transport.close)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        for each in list(server.server_state.connections):
            if hasattr(each, "transport"):
                each.loop.call_soon_threadsafe(each.transport.close)


async def answer(send: Callable, status: int, said: str | Mapping) -> None:
    """Send a short text, or a small object, as JSON."""
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})
