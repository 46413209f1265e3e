"""What the editor's server refuses: strangers, paths, other sites, large bodies and hostile values."""

import socket
import string
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from gradio_client import handle_file

from tests.editors import Editor
from tests.served import WHOLE, after, ask, begin


def test_the_page_and_the_question_whether_it_runs_are_answered(editor):
    status, text = ask(editor.url)
    assert status == 200
    assert "Rewrite" in text
    assert ask(editor.url, "/alive")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "169.254.169.254", "127.0.0.1.evil.example"])
def test_a_forged_host_is_refused(editor, host):
    assert ask(editor.url, Host=host)[0] == 400
    assert ask(editor.url, "/gradio_api/info", Host=host)[0] == 400


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1", "http://127.0.0.1:1", "null", "file://"]
)
def test_a_page_of_another_origin_is_refused(editor, origin):
    for path in ("", "/gradio_api/info", "/gradio_api/queue/join", "/alive"):
        assert ask(editor.url, path, Origin=origin)[0] == 403


def test_what_another_site_fetches_without_an_origin_is_refused(editor):
    assert ask(editor.url, "/gradio_api/info", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
    assert ask(editor.url, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200


def test_the_own_page_is_answered(editor):
    origin = editor.url.rstrip("/")
    assert ask(editor.url, "/gradio_api/info", Origin=origin)[0] == 200


def test_the_server_listens_on_this_machine_alone(editor):
    found = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = [line[1].partition(":")[0] for line in found if line[1].endswith(f":{editor.port:04X}")]
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
def test_no_file_outside_the_private_folder_is_served(editor, path):
    status, text = ask(editor.url, path)
    assert status in (400, 403, 404)
    assert "root:" not in text
    assert "TrustedHost" not in text


def test_the_model_of_the_server_is_no_file_that_is_served(editor, files):
    assert ask(editor.url, f"/gradio_api/file={files['model']}")[0] == 403


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/monitoring", "/gradio_api/mcp/"])
def test_nothing_is_served_beside_the_page(editor, path):
    assert ask(editor.url, path)[0] in (401, 403, 404)


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
def test_routes_of_gradio_that_no_page_needs_are_closed(editor, path):
    for prefix in ("", "/gradio_api"):
        status, text = ask(editor.url, prefix + path)
        assert (status, text) == (404, '"this editor has no such page"')


@pytest.mark.parametrize(
    "path", ["/gradio_api/info", "/gradio_api/info/", "/info", "/gradio_api/info?all_endpoints=True"]
)
def test_no_schema_of_the_handlers_is_told(editor, path):
    assert ask(editor.url, path) == (200, '{"named_endpoints": {}, "unnamed_endpoints": {}}')


def test_every_answer_forbids_to_be_shown_inside_of_another_page(editor):
    for path in ("", "/alive", "/gradio_api/info", "/no-such-page", "/openapi.json"):
        try:
            headers = urllib.request.urlopen(editor.url.rstrip("/") + path, timeout=10).headers
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
def test_the_body_of_every_route_is_limited(editor, path):
    begun = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{editor.port}\r\nContent-Type: application/json\r\n"
    said = spoken(editor, f"{begun}Content-Length: {2**40}\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_say_its_length_is_limited_too(editor):
    begun = f"POST /gradio_api/queue/join HTTP/1.1\r\nHost: 127.0.0.1:{editor.port}\r\n"
    begun += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    part = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    assert spoken(editor, begun.encode(), part, 24).startswith(b"HTTP/1.1 413")


def hostile(count: int) -> Iterator[tuple[str, list]]:
    """What a page of ours never sends, to every handler that takes something."""
    random = Random(0)
    wild: list[Any] = [
        None, [], {}, "", "\x00", "<script>alert(1)</script>", "../../../etc/passwd", "${7*7}", "{{7*7}}", -1, 0, 2**63,
        10**30, 1e308, -0.0, True, [[]], {"marks": None}, {"marks": {}}, {"marks": [None]}, {"marks": [[]]},
        {"marks": [{"seed": -1, "role": "copy", "runs": [[0, 1]]}]},
        {"marks": [{"seed": 2**32, "role": "copy", "runs": [[0, 1]]}]},
        {"marks": [{"seed": 1.5, "role": "copy", "runs": [[0, 1]]}]},
        {"marks": [{"seed": True, "role": "copy", "runs": [[0, 1]]}]},
        {"marks": [{"seed": 1, "role": "admin", "runs": [[0, 1]]}]},
        {"marks": [{"seed": 1, "role": ["copy"], "runs": [[0, 1]]}]},
        {"marks": [{"seed": 1, "role": "copy", "runs": []}]},
        {"marks": [{"seed": 1, "role": "copy", "runs": [[0, 0]]}]},
        {"marks": [{"seed": 1, "role": "copy", "runs": [[-5, 3]]}]},
        {"marks": [{"seed": 1, "role": "copy", "runs": [[250, 100]]}]},
        {"marks": [{"seed": 1, "role": "copy", "runs": [[5, 2], [0, 2]]}]},
        {"marks": [{"seed": 1, "role": "copy", "runs": [[0, 2, 3]]}]},
        {"marks": [{"seed": 1, "role": "copy", "runs": [["0", "2"]]}]},
        {"marks": [{"seed": 1, "role": "copy", "runs": [[0, 1]]}] * 2},
        {"marks": [{"seed": seed, "role": "copy", "runs": [[0, 1]]} for seed in range(500)]},
        {"marks": [{"seed": 1, "role": "copy", "runs": [[2 * i, 1] for i in range(300)]}]},
    ]  # fmt: skip
    requests: list[Any] = [
        {"do": "delete", "index": 99}, {"do": "delete", "index": -1}, {"do": "switch", "index": 0, "to": "yes"},
        {"do": "strength", "index": 0, "to": 1e9}, {"do": "strength", "index": 0, "to": "1"},
        {"do": "strength", "index": 0, "to": True}, {"do": "rename", "index": 0, "to": "x" * 10_000},
        {"do": "rename", "index": 0, "to": "a\u202eb"}, {"do": "__class__", "index": 0}, {"do": ["undo"]},
        {"do": "save", "index": 10**20}, {"do": "marks", "index": 1.5}, {"do": "move", "index": 0, "to": "up"},
    ]  # fmt: skip
    handlers = {
        "/rule_marks": 1,
        "/rule_rewrite": 1,
        "/rule_requests": 1,
        "/rule_seeds": 2,
        "/rule_next_seeds": 1,
        "/rule_save_marks": 1,
        "/rule_find": 3,
    }
    handlers |= {
        "/export_export": 2,
        "/model_open": 1,
        "/model_measure": 1,
        "/rule_load_built_in": 1,
        "/rule_choices": 5,
        "/artifacts_marks": 1,
        "/artifacts_find": 2,
        "/artifacts_ticks": 1,
        "/units_layer": 1,
        "/units_concept": 1,
    }
    for entry in requests:
        yield "/rule_requests", [{"requests": [{"turn": 10**6, **entry}]}]
    yield "/rule_requests", [{"requests": [{"do": "undo", "turn": 1}] * 21}]
    for value in wild:
        yield "/rule_marks", [value]
        yield "/rule_rewrite", [value]
    for name in ("../out", "/tmp/x", "a\x00b", "con/../../x", "." * 50):
        yield "/export_export", [name, ["checkpoint"]]
        yield "/model_open", [name]
    while True:
        name = random.choice(list(handlers))
        junk = "".join(random.choices(string.printable, k=random.randint(0, 40)))
        yield name, [random.choice([*wild, junk]) for _ in range(handlers[name])]


def test_two_hundred_hostile_values_are_refused_and_change_nothing(editor, files):
    client = begin(editor)
    first = client.predict(WHOLE, api_name="/rule_rewrite")
    refused = 0
    for number, (name, values) in enumerate(hostile(200)):
        if number == 200:
            break
        try:
            client.predict(*values, api_name=name)
        except Exception as error:
            text = str(error)
            assert "Traceback" not in text
            assert str(files["model"].parent) not in text
            refused += 1
    assert refused >= 180
    again = begin(editor).predict(WHOLE, api_name="/rule_rewrite")
    assert after(again) == after(first)


def test_a_file_that_is_no_rule_is_refused(client, tmp_path):
    for number, content in enumerate(
        [b"", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"schema": "rewrite-rule/1"}', b"\x80\x04."]
    ):
        path = tmp_path / f"{number}.json"
        path.write_bytes(content)
        with pytest.raises(Exception, match=r".") as refusal:
            client.predict(handle_file(str(path)), api_name="/rule_load")
        assert "Traceback" not in str(refusal.value)
