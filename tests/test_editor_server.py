"""The editor's server: what it refuses, and that sessions do not see each other."""

import json
import os
import socket
import string
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from gradio_client import Client, handle_file

from apps.cli import build_parser
from rewrite import load_generator
from tests.editors import Editor, running
from tests.started import ROOT

WHOLE = {
    "marks": [
        {"seed": 1, "role": "copy", "runs": [[34, 4], [50, 4], [66, 4]]},
        {"seed": 2, "role": "paste", "runs": [[136, 4], [152, 4], [168, 4]]},
        {"seed": 3, "role": "context", "runs": [[132, 4], [148, 4]]},
    ],
    "heat": False,
}


@pytest.fixture(scope="module")
def editor(files, tmp_path_factory) -> Iterator[Editor]:
    """An editor of a tiny model."""
    folder, models = tmp_path_factory.mktemp("editor"), files["model"].parent
    small = ("--segmenter", "none", "--samples", 30, "--tiles", 6)
    with running(folder, files["model"], "--models", models, *small) as found:
        yield found


def begin(editor: Editor) -> Client:
    """One session. There is no TLS on this machine: reading the system's certificates would take most of the time."""
    return Client(editor.url, verbose=False, ssl_verify=False)


@pytest.fixture
def client(editor) -> Client:
    return begin(editor)


def ask(url: str, path: str = "", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(
        url.rstrip("/") + path, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")


def after(answer: tuple) -> list[str]:
    """The edited tiles that an answer to the wall holds."""
    return answer[0]["props"]["after"]


def request(turn: int, do: str, **more: Any) -> dict:
    return {"requests": [{"do": do, "turn": turn, **more}]}


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


def test_the_whole_story_without_a_browser(client, editor, tmp_path):
    status, _ = client.predict(WHOLE, api_name="/rule_marks")[:2]
    assert "Better with" in status
    price = client.predict(api_name="/rule_price")[0]
    assert "Arrives at the marks" in price
    assert "<svg" in client.predict(api_name="/rule_figures")
    answer = client.predict(WHOLE, api_name="/rule_rewrite")
    assert len(after(answer)) == 6
    weaker = client.predict(request(1, "strength", index=0, to=0.5), api_name="/rule_requests")
    assert after(weaker) != after(answer)
    assert after(client.predict(request(2, "undo"), api_name="/rule_requests")) == after(answer)
    named = client.predict(request(3, "rename", index=0, to="<b>trees</b> & tops"), api_name="/rule_requests")
    assert named[1]["props"]["rules"][0]["name"] == "<b>trees</b> & tops"
    file = client.predict(request(4, "save", index=0), api_name="/rule_requests")[1]["props"]["file"]
    assert file["name"] == "b-trees-b-tops.json"
    (tmp_path / file["name"]).write_text(file["text"])
    loaded = client.predict(handle_file(str(tmp_path / file["name"])), api_name="/rule_load")
    assert [rule["name"] for rule in loaded[1]["props"]["rules"]] == ["<b>trees</b> & tops"] * 2
    told, offered = client.predict("first", ["checkpoint", "rule"], api_name="/export_export")[:2]
    assert "first.safetensors" in told
    assert load_generator(editor.folder / "out" / "first" / "first.safetensors").size == (16, 16)
    assert len(offered["value"] if isinstance(offered, dict) else offered) == 3


def test_sessions_at_once_do_not_see_each_other(editor):
    found: dict[int, list] = {}

    def run(number: int) -> None:
        session = begin(editor)
        session.predict(WHOLE, api_name="/rule_rewrite")
        answer = session.predict(request(1, "strength", index=0, to=number / 10), api_name="/rule_requests")
        answer = session.predict(request(2, "rename", index=0, to=f"session {number}"), api_name="/rule_requests")
        found[number] = [answer[1]["props"]["rules"], after(answer)]

    threads = [threading.Thread(target=run, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for number, (rules, _) in found.items():
        assert [(rule["name"], rule["strength"]) for rule in rules] == [(f"session {number}", number / 10)]
    assert len({tuple(tiles) for _, tiles in found.values()}) == 4


ALONE = """
import contextlib, io, json, os, signal, socket, sys, threading, time, urllib.error, urllib.request
from pathlib import Path
from apps.cli import main
from apps.editor.options import Options
from apps.editor.server import serving

model, folder = sys.argv[1:]
options, before, told = Options(model, segmenter="none", samples=30, tiles=2), dict(os.environ), {}
with serving(options):
    told["private"] = os.environ["GRADIO_TEMP_DIR"] != folder
    try:
        with serving(options):
            pass
    except ValueError as error:
        told["second"] = str(error)
told["as it was"] = os.environ == before
from gradio import route_utils
told["not kept"] = route_utils.DEFAULT_TEMP_DIR == folder
with serving(options) as url:
    told["next"] = urllib.request.urlopen(url).status

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]

said = io.StringIO()

def press():
    while "until Ctrl-C" not in said.getvalue():
        time.sleep(0.05)
    time.sleep(0.5)
    try:
        told["strangers"] = urllib.request.urlopen(f"http://127.0.0.1:{port}/gradio_api/login_check").status
    except urllib.error.HTTPError as error:
        told["strangers"] = error.code
    told["folders"] = len([*Path(folder).glob("rewrite-scratch-*")])
    os.kill(os.getpid(), signal.SIGINT)

pressing = threading.Thread(target=press)
pressing.start()
arguments = ["app", model, "--segmenter", "none", "--tiles", "2", "--port", str(port), "--auth", "anna:secret"]
with contextlib.redirect_stdout(said):
    told["status"] = main(arguments)
pressing.join()
told["left"] = len([*Path(folder).glob("rewrite-scratch-*")])

os.environ["GRADIO_IS_E2E_TEST"] = "1"  # Gradio notices sooner that a page is gone.
from gradio_client import Client
from apps.editor.models import Models
from apps.editor.page import build
from apps.editor.session import Session
from tests.test_editor_server import WHOLE

page = build(Models(options), folder)
_, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, share=False, ssr_mode=False)
client = Client(url, verbose=False, ssl_verify=False)
client.predict(WHOLE, api_name="/rule_rewrite")
(held,) = page.state_holder.session_data.values()
(session,) = (each for each in held.state_data.values() if isinstance(each, Session))
told["solved"] = session.solved(session.draft) is not None
client.close()
deadline = time.monotonic() + 60
while session.solved(session.draft) and time.monotonic() < deadline:
    time.sleep(0.1)
told["kept"] = session.solved(session.draft) is not None, len(session.rules)
print(json.dumps(told), flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def alone(files, tmp_path_factory) -> dict:
    """What happened in a process of its own, which Gradio leaves with open sockets."""
    folder = tmp_path_factory.mktemp("alone")
    place = {"REWRITE_CACHE": str(folder), "GRADIO_TEMP_DIR": str(folder), "TMPDIR": str(folder)}
    command = [sys.executable, "-c", ALONE, str(files["model"]), str(folder)]
    done = subprocess.run(command, env={**os.environ, **place}, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_closed_page_lets_go_of_what_can_be_made_again_and_keeps_its_rules(alone):
    assert alone["solved"]
    assert alone["kept"] == [False, 1]


def test_a_server_leaves_the_environment_as_it_was_and_another_may_follow_but_not_run_beside_it(alone):
    assert alone["second"] == "this process serves an editor already: end it first"
    assert alone["private"]
    assert alone["as it was"]
    assert alone["not kept"]
    assert alone["next"] == 200


def hostile(random: int) -> Iterator[tuple[str, list]]:
    """What a page of ours never sends, to the handlers that take the most, and as many at random to any handler."""
    chance = Random(0)
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
    for _ in range(random):
        name = chance.choice(list(handlers))
        junk = "".join(chance.choices(string.printable, k=chance.randint(0, 40)))
        yield name, [chance.choice([*wild, junk]) for _ in range(handlers[name])]


def test_hostile_values_are_refused_and_change_nothing(editor, files):
    client = begin(editor)
    first = client.predict(WHOLE, api_name="/rule_rewrite")
    asked = refused = 0
    for name, values in hostile(random=40):
        try:
            asked += 1
            client.predict(*values, api_name=name)
        except Exception as error:
            text = str(error)
            assert "Traceback" not in text
            assert str(files["model"].parent) not in text
            refused += 1
    assert refused >= 0.85 * asked
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


def test_ctrl_c_ends_the_editor_and_leaves_no_private_folder(alone):
    assert alone["strangers"] == 401
    assert (alone["folders"], alone["left"]) == (1, 0)
    assert alone["status"] == 0


@pytest.mark.parametrize("tiles", [0, 25, -3])
def test_the_wall_holds_one_to_24_images(refusal, files, tiles):
    assert "1 to 24 seeds" in refusal("app", files["model"], "--segmenter", "none", f"--tiles={tiles}")


def test_the_command_takes_what_the_server_needs(refusal):
    options = build_parser().parse_args(["app", "towers", "--port", "7000", "--models", "m", "--auth", "anna:secret"])
    assert (options.port, options.models, options.auth) == (7000, [Path("m")], ("anna", "secret"))
    assert "a name and a password" in refusal("app", "--auth", "anna")
