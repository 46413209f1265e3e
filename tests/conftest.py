"""Fixtures that every test file can use: small networks, and files for tests of the program."""

import gc
import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import apps.editor  # noqa: F401  before a test imports Gradio
from apps.cli import main
from apps.editor.models import Models
from apps.editor.options import Options
from apps.editor.session import Session
from rewrite import load_generator, measure, solve
from rewrite.checkpoints import native
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from tests.editing import begun
from tests.file_server import FileServer
from tests.guards import ADDRESS
from tests.networks import (
    CONFIG,
    PlainGenerator,
    marked_rule,
    random_stylegan2,
)

if TYPE_CHECKING:
    from gradio_client import Client
    from playwright.sync_api import BrowserContext, Page

    from tests.editors import Editor


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What all tests import stays to the end: nobody looks through it for what can go, now or between tests."""
    gc.disable()
    found = yield
    gc.enable()
    gc.freeze()
    return found


def pytest_unconfigure() -> None:
    """At the end it goes like all else: triton would tell what is left of it."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks an editor comes first: one worker has it all, and no other has to start editors and a browser."""
    items.sort(
        key=lambda item: not {"open_page", "towers_editor", "small_editor", "digits_editor"} & set(item.fixturenames)
    )


@pytest.fixture
def tiny_generator() -> StyleGAN2Generator:
    """A new random generator for each test, so that a test may change its weights."""
    return StyleGAN2Generator(random_stylegan2())


@pytest.fixture
def scaled() -> StyleGAN2Generator:
    """The same with weights that are scaled as it runs, as in rosinality's files."""
    return StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, conv_gain=True)), noise="const")


@pytest.fixture
def plain_generator() -> PlainGenerator:
    """The same for layers without modulation, one kernel in groups and one transposed."""
    return PlainGenerator()


@pytest.fixture
def cache(tmp_path_factory, monkeypatch) -> Path:
    """An empty folder in place of the user's caches."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("REWRITE_CACHE", str(folder))
    monkeypatch.delenv("REWRITE_TRACEBACK", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder / "hub"))
    return folder


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, Path]:
    """A saved model, a rule of its layer b16.conv1, the layer's memory and the rule's patch."""
    folder = tmp_path_factory.mktemp("files")
    names = ("model.safetensors", "rule.json", "memory.safetensors", "patch.safetensors")
    paths = {name.partition(".")[0]: folder / name for name in names}
    native.save_stylegan2(paths["model"], random_stylegan2().state_dict(), CONFIG, {"seed": 0})
    generator, rule = load_generator(paths["model"]), marked_rule(paths["model"])
    memory = measure(generator, rule.layer, 30)
    rule.save(paths["rule"])
    memory.save(paths["memory"])
    solve(generator, memory, rule, rank=3).save(paths["patch"])
    return paths


@pytest.fixture
def answer(capsys) -> Callable[..., dict]:
    """Run a command that succeeds, and give what it says to programs."""

    def run(*arguments) -> dict:
        capsys.readouterr()
        assert main([*map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refusal(capsys) -> Callable[..., str]:
    """Run a command on bad input, and give what it says: one sentence on stderr, status 2."""

    def run(*arguments) -> str:
        capsys.readouterr()
        status = main(list(map(str, arguments)))
        out, error = capsys.readouterr()
        assert status == 2, error
        assert out == ""
        said = [line for line in error.replace("\r", "\n").splitlines() if line.startswith("rewrite:")]
        assert len(said) == 1
        assert error.rstrip().endswith(said[0])
        assert "Traceback" not in error
        assert not ADDRESS.search(error)
        return said[0]

    return run


@pytest.fixture(scope="session")
def library(files, tmp_path_factory) -> Path:
    """A folder of models, with a file in it that is none, and a model beside it that no page may open."""
    root = tmp_path_factory.mktemp("library")
    (root / "models" / "small").mkdir(parents=True)
    for path in (root / "models" / "small" / "sixteen.safetensors", root / "outside.safetensors"):
        shutil.copyfile(files["model"], path)
    (root / "models" / "letter.pt").write_bytes(b"Dear reader, " * 100)
    return root / "models"


@pytest.fixture(scope="session")
def towers_editor(library, tmp_path_factory) -> Iterator["Editor"]:
    """An editor of the built-in generator that may open the library, for all tests in a browser."""
    from tests.editors import TILES, running

    folder, options = tmp_path_factory.mktemp("towers"), ("--samples", 100, "--tiles", TILES)
    with running(folder, "towers", "--models", library, *options) as editor:
        yield editor


@pytest.fixture(scope="session")
def small_editor(library, tmp_path_factory) -> Iterator["Editor"]:
    """The same of a small random generator, where a rule is solved at once: for what has little to do with images."""
    from tests.editors import TILES, running

    folder, options = tmp_path_factory.mktemp("small"), ("--samples", 100, "--tiles", TILES)
    with running(folder, library / "small" / "sixteen.safetensors", *options) as editor:
        yield editor


@pytest.fixture(scope="session")
def editor(files, tmp_path_factory) -> Iterator["Editor"]:
    """An editor of the saved model that tests ask without a browser."""
    from tests.editors import running

    folder, models = tmp_path_factory.mktemp("editor"), files["model"].parent
    small = ("--segmenter", "none", "--samples", 30, "--tiles", 6)
    with running(folder, files["model"], "--models", models, *small) as found:
        yield found


@pytest.fixture(scope="session")
def digits_editor(tmp_path_factory) -> Iterator["Editor"]:
    """An editor of the built-in classifier of digits."""
    from tests.editors import running

    pytest.importorskip("sklearn")
    with running(tmp_path_factory.mktemp("digits"), "digits", "--training", 40, "--test", 50) as found:
        yield found


@pytest.fixture
def client(editor) -> "Client":
    """A session of that editor."""
    from tests.served import begin

    return begin(editor)


@pytest.fixture(scope="module")
def options(files) -> Options:
    """What an editor of the saved model is started with."""
    folder = files["model"].parent
    return Options(str(files["model"]), folders=(folder,), segmenter="none", samples=30, tiles=6)


@pytest.fixture(scope="module")
def shared_models(options, tmp_path_factory) -> Models:
    """What the sessions of a file's tests share, as those of one server: a rule of theirs is solved once for all."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REWRITE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return Models(options)


@pytest.fixture
def models(shared_models, cache) -> Models:
    """The same, with an empty folder for what is kept on disk."""
    return shared_models


@pytest.fixture
def new_models(options, cache) -> Models:
    """Those of a server that has not done anything yet."""
    return Models(options)


@pytest.fixture
def session(models) -> Session:
    """A session of that server."""
    return begun(models)


@pytest.fixture
def new_session(new_models) -> Session:
    """A session of a server that has not done anything yet."""
    return begun(new_models)


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="session")
def profile(tmp_path_factory) -> Path:
    """What a browser keeps from one start to the next: a page that it knows already loads in half of the time."""
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def browser(profile) -> Iterator["BrowserContext"]:
    """A browser for the tests of one file: while it runs, its thread cannot begin an event loop."""
    from tests.editors import chromium

    with chromium(profile) as found:
        yield found


@pytest.fixture
def open_page(browser, request) -> Iterator[Callable[..., "Page"]]:
    """Open an editor, or that of the built-in generator, in a tab of its own: see `Tabs`."""
    from tests.editors import Tabs

    with Tabs(browser) as tabs:
        yield lambda url="", *script, **how: tabs.open(
            url or request.getfixturevalue("towers_editor").url, *script, **how
        )


@pytest.fixture
def server() -> Iterator[tuple[type[FileServer], str]]:
    """What a server on this machine gives, to be changed by the test, and its address."""
    handler = type("Handler", (FileServer,), {})
    with HTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield handler, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()
