"""The editor's server: its routes from the first mark to the export, sessions beside each other, and its end."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from gradio_client import handle_file

from apps.cli import build_parser
from rewrite import load_generator
from tests.editors import Editor
from tests.served import WHOLE, after, ask, begin
from tests.started import ROOT


def request(turn: int, do: str, **more: Any) -> dict:
    return {"requests": [{"do": do, "turn": turn, **more}]}


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


def test_ten_sessions_at_once_do_not_see_each_other(editor):
    found: dict[int, list] = {}

    def run(number: int) -> None:
        session = begin(editor)
        session.predict(WHOLE, api_name="/rule_rewrite")
        answer = session.predict(request(1, "strength", index=0, to=number / 10), api_name="/rule_requests")
        answer = session.predict(request(2, "rename", index=0, to=f"session {number}"), api_name="/rule_requests")
        found[number] = [answer[1]["props"]["rules"], after(answer)]

    threads = [threading.Thread(target=run, args=[number]) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 10
    for number, (rules, _) in found.items():
        assert [(rule["name"], rule["strength"]) for rule in rules] == [(f"session {number}", number / 10)]
    assert len({tuple(tiles) for _, tiles in found.values()}) == 10


ALONE = """
import json, os, sys, time, urllib.request
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

os.environ["GRADIO_IS_E2E_TEST"] = "1"  # Gradio notices sooner that a page is gone.
from gradio_client import Client
from apps.editor.models import Models
from apps.editor.page import build
from apps.editor.session import Session
from tests.served import WHOLE

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
    place = {"REWRITE_CACHE": str(folder), "GRADIO_TEMP_DIR": str(folder)}
    command = [sys.executable, "-c", ALONE, str(files["model"]), str(folder)]
    done = subprocess.run(command, env={**os.environ, **place}, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_closed_page_lets_go_of_what_can_be_made_again_and_keeps_its_rules(alone):
    assert alone["solved"]
    assert alone["kept"] == [False, 1]


def test_a_server_leaves_the_environment_as_it_was_and_another_may_follow_but_not_run_beside_it(alone):
    assert alone["second"] == "this process serves an editor already: end it first"
    assert alone["private"]
    assert alone["as it was"]
    assert alone["not kept"]
    assert alone["next"] == 200


def test_ctrl_c_ends_the_editor_and_leaves_no_private_folder(files, tmp_path):
    editor = Editor(tmp_path, files["model"], "--segmenter", "none", "--tiles", 2, "--auth", "anna:secret")
    assert ask(editor.url, "/gradio_api/login_check")[0] == 401
    assert len(list((tmp_path / "tmp").glob("rewrite-scratch-*"))) == 1
    status, error = editor.end()
    assert (status, "Traceback" in error) == (0, False), error
    assert list((tmp_path / "tmp").glob("rewrite-scratch-*")) == []


@pytest.mark.parametrize("tiles", [0, 25, -3])
def test_the_wall_holds_one_to_24_images(refusal, files, tiles):
    assert "1 to 24 seeds" in refusal("app", files["model"], "--segmenter", "none", f"--tiles={tiles}")


def test_the_command_takes_what_the_server_needs(refusal):
    options = build_parser().parse_args(["app", "towers", "--port", "7000", "--models", "m", "--auth", "anna:secret"])
    assert (options.port, options.models, options.auth) == (7000, [Path("m")], ("anna", "secret"))
    assert "a name and a password" in refusal("app", "--auth", "anna")
