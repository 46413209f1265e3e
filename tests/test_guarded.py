"""What guards the editor's server, around a server that answers little: how long it waits for others."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from apps.editor.guarded import Guarded, answer, close_idle

PATIENCE = 0.6


async def reads_all(scope, receive, send) -> None:
    """Says how long a body was; waits for ever where it is asked to."""
    if scope["type"] == "http" and scope["path"] == "/news":
        while (await receive())["type"] != "http.disconnect":
            pass
    elif scope["type"] == "http":
        length, part = 0, {"more_body": True}
        while part.get("more_body"):
            part = await receive()
            length += len(part["body"])
        await answer(send, 200, {"length": length})


class Served:
    """A server in a thread."""

    def __init__(self):
        guarded = Guarded(reads_all, PATIENCE)
        self.server = uvicorn.Server(uvicorn.Config(guarded, port=0, log_level="error", lifespan="off"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def end(self) -> None:
        self.server.should_exit = True
        self.thread.join(5)


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    yield found
    found.end()


def connected(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=10)


@pytest.mark.parametrize("first", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: 1\r\n"])
def test_a_connection_that_asks_for_nothing_is_closed(served, first):
    with close_idle(served.server, PATIENCE), connected(served) as talking:
        talking.sendall(first)
        began = time.monotonic()
        assert talking.recv(1000) == b""
        assert time.monotonic() - began > PATIENCE / 2


def test_a_body_whose_next_part_does_not_come_is_refused(served):
    with close_idle(served.server, 10 * PATIENCE), connected(served) as talking:
        talking.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nabc")
        assert talking.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_body_that_comes_slowly_but_steadily_is_read(served):
    with close_idle(served.server, 10 * PATIENCE), connected(served) as talking:
        talking.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 6\r\n\r\n")
        for part in (b"ab", b"cd", b"ef"):
            time.sleep(PATIENCE / 2)
            talking.sendall(part)
        assert b'{"length": 6}' in talking.makefile("rb").read()


def test_a_page_that_waits_for_news_does_not_keep_the_server_from_ending(served):
    with connected(served) as talking:
        with close_idle(served.server):
            talking.sendall(b"GET /news HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            while not served.server.server_state.tasks:
                time.sleep(0.01)
        served.end()
        assert not served.thread.is_alive()
