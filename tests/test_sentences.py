"""Whatever is wrong, it is said in one sentence that says what a file is and is not, and names the option."""

import ast
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from apps.cli import _sentence, main
from apps.editor.options import Options
from apps.editor.server import serving
from rewrite import Memory, Rule, load_generator
from rewrite.storage.files import tensor_bytes
from rewrite.storage.quoting import LONGEST, plain, quoted, reason_of
from tests.guards import ADDRESS
from tests.networks import marked_rule
from tests.started import ROOT
from tests.test_house import SOURCES

pytestmark = pytest.mark.usefixtures("cache")


def native(**about: object) -> bytes:
    header = {"format": "rewrite", "kind": "generator", "library": "0", "about": json.dumps(about)}
    return b"".join(tensor_bytes({"a": torch.zeros(1)}, header))


def flat(**entry: object) -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 0], **entry}}).encode()
    return struct.pack("<Q", len(header)) + header


def zipped(name: bytes) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("N" * len(name), b"")
    # Bit 11 says that the name is UTF-8.
    content = written.getvalue().replace(b"N" * len(name), name)
    at = content.index(b"PK\1\2")
    return content[: at + 8] + struct.pack("<H", 0x800) + content[at + 10 :]


FILES = {
    "a family that is a list": native(family=["stylegan2"], config={}),
    "no family": native(config={}),
    "a shape of 2^63 and 0": flat(shape=[2**63, 0]),
    "a shape of 2^62 and 0": flat(shape=[2**62, 0]),
    "a zip name that is not UTF-8": zipped(b"\xff\xfe\xfd\xfc"),
    "JSON that ends": b'{"schema": ',
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", ["inspect", "sample"])
def test_a_file_that_is_wrong_is_refused_in_a_sentence_that_says_what_it_is_not(tmp_path, capsys, name, command):
    (tmp_path / "file").write_bytes(FILES[name])
    more = [] if command == "inspect" else ["--out", str(tmp_path / "a.png")]
    assert main([command, str(tmp_path / "file"), *more]) == 2 or command == "inspect"
    told = "".join(capsys.readouterr())
    assert str(tmp_path / "file") in told
    for empty in ("index out of range", "codec", "Expecting", "unhashable", "KeyError", "not in list", "Traceback"):
        assert empty not in told


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe{}", "it is not a text in UTF-8"),
        (b"", "it is not JSON, from line 1, column 1 on"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"[]", 'the document must say "schema"'),
    ],
)
def test_what_is_no_rule_is_said_in_words(tmp_path, content, said):
    (tmp_path / "rule.json").write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        Rule.load(tmp_path / "rule.json")
    assert "rule.json is not a valid rule" in str(caught.value)


def test_half_a_letter_is_no_name(files, tmp_path):
    document = json.loads(marked_rule(files["model"]).to_json())
    (tmp_path / "rule.json").write_text(json.dumps({**document, "name": "\ud800"}))
    with pytest.raises(ValueError, match="name must be a text that can be written in UTF-8"):
        Rule.load(tmp_path / "rule.json")


@pytest.mark.parametrize("seed", [1.5, -1, 2**32, "1", None, float("nan")])
def test_a_seed_that_is_no_whole_number_is_refused(tiny_generator, seed):
    with pytest.raises(ValueError, match="seeds are whole numbers from 0 to 4294967295, got"):
        tiny_generator.sample(iter([seed]))


@pytest.mark.parametrize("port", [0, -1, 65536, 10**9])
def test_a_port_out_of_range_names_its_option(port):
    with pytest.raises(ValueError, match="a port lies between 1 and 65535, got --port"), serving(Options(port=port)):
        pass


def test_counts_have_an_upper_limit_that_names_the_option(files, tmp_path, refusal):
    for option in ("--samples", "--columns"):
        said = refusal("sample", files["model"], option, 10**30, "--out", tmp_path / "a.png")
        assert f"argument {option}: a whole number of at most 4294967295" in said


def test_a_user_without_a_home_folder_works_on(files, tmp_path):
    code = (
        "import os, sys, pwd\n"
        "for name in ('HOME', 'XDG_CACHE_HOME', 'REWRITE_CACHE'): os.environ.pop(name, None)\n"
        "os.getuid = lambda: 4_000_000_000\n"
        "from apps.cli import main\n"
        "status, _ = main(sys.argv[1:]), main(['models'])\n"
        "sys.exit(status)"
    )
    solving = ["solve", files["rule"], "--model", files["model"], "--samples", "10", "--out", tmp_path / "patch"]
    command = [sys.executable, "-c", code, *map(str, solving)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the memory is not kept: this user has no home folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_editor_opens_behind_a_proxy_that_answers_nothing(files, tmp_path):
    code = (
        "import os, sys, urllib.request\n"
        "from apps.editor.options import Options\nfrom apps.editor.server import serving\n"
        "with serving(Options(sys.argv[1], segmenter='none', samples=10, tiles=1)) as url:\n"
        "    answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url)\n"
        "    print(answer.status, os.environ['ALL_PROXY'], flush=True)\n"
        "os._exit(0)"
    )
    proxy = {name: "socks5://127.0.0.1:9" for name in ("ALL_PROXY", "all_proxy", "http_proxy", "HTTPS_PROXY")}
    command = [sys.executable, "-c", code, str(files["model"])]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **proxy}, capture_output=True, text=True)
    assert done.stdout == "200 socks5://127.0.0.1:9\n", done.stderr


def test_a_message_quotes_little_and_steers_no_terminal():
    endless: list = []
    endless.append(endless)
    for value in ("a" * 10**6, "\x1b[31mred", "\u202egnirts", list(range(10**6)), 1 << 10**5, endless, {"a": [[[[]]]]}):
        assert len(quoted(value)) <= LONGEST
        assert quoted(value).isprintable()
    assert plain("a\x1b[31m\n\u202eb") == r"a\x1b[31m\n\u202eb"
    assert _sentence(ValueError("no\x1b]0;x\x07file")) == r"no\x1b]0;x\x07file"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file here fails when it is read")
@pytest.mark.parametrize("command", [["inspect"], ["sample", "--out", "a.png"]], ids=["inspect", "sample"])
def test_a_file_that_a_disk_does_not_give_is_named(tmp_path, monkeypatch, refusal, command):
    monkeypatch.chdir(tmp_path)
    assert refusal(*command, "/proc/self/mem") == "rewrite: /proc/self/mem cannot be read: Input/output error"


class Strange:
    """Something that nobody should give."""


@pytest.mark.parametrize(
    "value", [Strange(), [Strange()], {"a": (Strange(),)}, iter([1]), len, lambda: 0], ids=range(6)
)
def test_no_message_says_where_an_object_lies_in_memory(value):
    for said in (quoted(value), _sentence(ValueError(f"got {value!r}")), reason_of(TypeError(f"got {value!r}"))):
        assert not ADDRESS.search(said)
    assert "Strange>" in quoted(Strange())


def test_whatever_was_given_is_quoted_in_a_refusal_and_not_shown_whole():
    """`quoted` is short whatever a file holds, and says no address; `!r` is for pieces of a known length."""
    shown = [
        f"{path}:{node.lineno}"
        for path in (*SOURCES["rewrite"], *SOURCES["dissect"])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise)
        for part in ast.walk(node)
        if isinstance(part, ast.FormattedValue) and part.conversion == ord("r")
        if not isinstance(part.value, ast.Subscript)
    ]
    assert shown == []


def test_a_memory_that_is_not_symmetric_is_refused(files, tmp_path):
    memory = Memory.load(files["memory"])
    memory.total[3, 5] += 1e-3 * float(memory.total.diagonal().max())
    memory.save(tmp_path / "memory.safetensors")
    with pytest.raises(ValueError, match="its second moment is not symmetric"):
        Memory.load(tmp_path / "memory.safetensors")


def test_weights_that_torch_cannot_hold_end_in_a_sentence(monkeypatch, files, tmp_path, refusal):
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("apps.commands.sample.load_generator", fails)
    assert load_generator(files["model"])
    assert refusal("sample", files["model"], "--out", tmp_path / "a.png") == "rewrite: there is not enough memory"
