"""The editor's server answers its own page alone, and gives nothing beside it."""

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.editors import Editor


def ask(url: str, path: str = "", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(
        url.rstrip("/") + path, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")


def test_the_page_and_the_question_whether_it_runs_are_answered(small_editor):
    status, text = ask(small_editor.url)
    assert status == 200
    assert "Rewrite" in text
    assert ask(small_editor.url, "/alive")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "169.254.169.254", "127.0.0.1.evil.example"])
def test_a_forged_host_is_refused(small_editor, host):
    assert ask(small_editor.url, Host=host)[0] == 400
    assert ask(small_editor.url, "/gradio_api/info", Host=host)[0] == 400


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1", "http://127.0.0.1:1", "null", "file://"]
)
def test_a_page_of_another_origin_is_refused(small_editor, origin):
    for path in ("", "/gradio_api/info", "/gradio_api/queue/join", "/alive"):
        assert ask(small_editor.url, path, Origin=origin)[0] == 403


def test_what_another_site_fetches_without_an_origin_is_refused(small_editor):
    assert ask(small_editor.url, "/gradio_api/info", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
    assert ask(small_editor.url, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200


def test_the_own_page_is_answered(small_editor):
    origin = small_editor.url.rstrip("/")
    assert ask(small_editor.url, "/gradio_api/info", Origin=origin)[0] == 200


def test_the_server_listens_on_this_machine_alone(small_editor):
    found = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = [line[1].partition(":")[0] for line in found if line[1].endswith(f":{small_editor.port:04X}")]
    assert set(addresses) == {"0100007F"}


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../../etc/passwd",
        "/gradio_api/file=%2e%2e/%2e%2e/etc/passwd",
        "/gradio_api/file=apps/editor/server.py",
        "/file=/etc/passwd",
        "/static/../../../etc/passwd",
        "/assets/..%2f..%2f..%2f..%2fetc%2fpasswd",
    ],
)
def test_no_file_outside_the_private_folder_is_served(small_editor, path):
    status, text = ask(small_editor.url, path)
    assert status in (400, 403, 404)
    assert "root:" not in text
    assert "TrustedHost" not in text


def test_the_model_of_the_server_is_no_file_that_is_served(small_editor, library):
    assert ask(small_editor.url, f"/gradio_api/file={library / 'small' / 'sixteen.safetensors'}")[0] == 403


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/monitoring", "/gradio_api/mcp/"])
def test_nothing_is_served_beside_the_page(small_editor, path):
    assert ask(small_editor.url, path)[0] in (401, 403, 404)


@pytest.mark.parametrize(
    "path",
    [
        "/config",
        "/openapi.json",
        "/app_id",
        "/dev/reload",
        "/runs",
        "/profiling/summary",
        "/proxy=http://127.0.0.1",
        "/vibe-code",
    ],
)
def test_routes_of_gradio_that_no_page_needs_are_closed(small_editor, path):
    for prefix in ("", "/gradio_api"):
        status, text = ask(small_editor.url, prefix + path)
        assert (status, text) == (404, '"this editor has no such page"')


@pytest.mark.parametrize(
    "path", ["/gradio_api/info", "/gradio_api/info/", "/info", "/gradio_api/info?all_endpoints=True"]
)
def test_no_schema_of_the_handlers_is_told(small_editor, path):
    assert ask(small_editor.url, path) == (200, '{"named_endpoints": {}, "unnamed_endpoints": {}}')


def test_every_answer_forbids_to_be_shown_inside_of_another_page(small_editor):
    for path in ("", "/alive", "/gradio_api/info", "/no-such-page", "/openapi.json"):
        try:
            headers = urllib.request.urlopen(small_editor.url.rstrip("/") + path, timeout=60).headers
        except urllib.error.HTTPError as error:
            headers = error.headers
        assert headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "default-src 'self'" in headers["Content-Security-Policy"]


def spoken(editor: Editor, first: bytes, then: bytes = b"", times: int = 0, *, wait: float = 60) -> bytes:
    """What the server answers to bytes; nothing once it has closed the connection."""
    with socket.create_connection(("127.0.0.1", editor.port), timeout=wait) as talking:
        try:
            talking.sendall(first)
            for _ in range(times):
                talking.sendall(then)
            return talking.recv(1000)
        except (BrokenPipeError, ConnectionResetError):
            return talking.recv(1000)


@pytest.mark.parametrize(
    "path", ["/gradio_api/queue/join", "/gradio_api/run/rule_marks", "/login", "/gradio_api/upload"]
)
def test_the_body_of_every_route_is_limited(small_editor, path):
    begun = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{small_editor.port}\r\nContent-Type: application/json\r\n"
    said = spoken(small_editor, f"{begun}Content-Length: {2**40}\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_say_its_length_is_limited_too(small_editor):
    begun = f"POST /gradio_api/queue/join HTTP/1.1\r\nHost: 127.0.0.1:{small_editor.port}\r\n"
    begun += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    part = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    assert spoken(small_editor, begun.encode(), part, 24).startswith(b"HTTP/1.1 413")
