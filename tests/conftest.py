"""Small random networks that every test file can use, and files for tests of the program."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from apps.cli import main
from rewrite import Latent, Mask, Patch, Region, Rule, Settings, load_generator, measure, solve
from rewrite.checkpoints import native
from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.discriminator import Discriminator, DiscriminatorDesign
from rewrite.generators.fingerprint import hash_of
from rewrite.generators.latents import Latents
from rewrite.generators.layers import Layer
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.generators.stylegan3 import Design3, StyleGAN3
from rewrite.generators.stylegan3_layers import StyleGAN3Generator
from tests.guards import ADDRESS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.editors import Editor

CHANNELS = {4: 6, 8: 5, 16: 4}
CONFIG = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channels": CHANNELS}
SMALL3 = Design3(z_dim=8, w_dim=8, img_resolution=16, channel_base=128, channel_max=12, num_layers=4, margin_size=2)


def random_stylegan2(seed: int = 0, design: Design | None = None) -> StyleGAN2:
    """A StyleGAN2 of 16x16 whose noise and biases do something."""
    torch.manual_seed(seed)
    network = StyleGAN2(design or Design(**CONFIG))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.3)
            elif name.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
        network.mapping.w_avg.copy_(0.1 * torch.randn(8))
    return network


def random_stylegan3(design: Design3 = SMALL3, seed: int = 0) -> StyleGAN3Generator:
    """A StyleGAN3 whose input is turned and moved, and whose magnitudes and biases do something."""
    torch.manual_seed(seed)
    network = StyleGAN3(design)
    with torch.no_grad():
        network.synthesis.input.affine.weight.normal_(std=0.3)
        network.mapping.w_avg.normal_(std=0.1)
        for name, tensor in network.state_dict().items():
            if name.endswith("magnitude_ema"):
                tensor.fill_(0.5 + float(torch.rand([])))
            elif name.endswith("bias"):
                tensor.add_(0.1 * torch.randn_like(tensor))
    return StyleGAN3Generator(network)


def random_discriminator(**how) -> Discriminator:
    """A discriminator of 16x16 whose biases do something."""
    torch.manual_seed(4)
    network = Discriminator(DiscriminatorDesign(**{"channels": CHANNELS, **how}))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
    return network.eval().requires_grad_(False)


class PlainGenerator(Generator):
    """Three plain layers in float64, run one image at a time: its numbers do not hang on the batch at all."""

    def __init__(self):
        torch.manual_seed(1)
        self.module = (
            nn.ModuleDict(
                {
                    "lift": nn.Linear(8, 3 * 6 * 6),
                    "conv": nn.Conv2d(3, 4, 3, padding=1),
                    "grouped": nn.Conv2d(4, 4, 3, padding=1, groups=2),
                    "up": nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1),
                }
            )
            .double()
            .requires_grad_(False)
        )
        self.z_dim, self.size, self.truncation = 8, (12, 12), 1.0
        plain, doubling = {"kernel": (3, 3), "padding": (1, 1)}, {"kernel": (4, 4), "stride": (2, 2), "padding": (1, 1)}
        self.layers = {
            "conv": Layer("conv", "conv.weight", "convolution", 3, 4, (6, 6), bias="conv.bias", **plain),
            "grouped": Layer(
                "grouped", "grouped.weight", "convolution", 4, 4, (6, 6), groups=2, bias="grouped.bias", **plain
            ),
            "up": Layer("up", "up.weight", "transposed", 4, 3, (6, 6), inputs_first=True, bias="up.bias", **doubling),
        }

    def images(self, latents: Latents) -> torch.Tensor:
        return self.rerun("conv", self.cut("conv", latents))

    def cut(self, layer: str, latents: Latents) -> Cut:
        self.layer(layer)
        return Cut(None, torch.cat([self._features(layer, z) for z in latents.z.to(self.dtype)]))

    def onward(self, layer: str, cut: Cut, output: torch.Tensor) -> torch.Tensor:
        x, later = output, list(self.layers)
        for name in later[later.index(layer) + 1 :]:
            x = self.module[name](F.leaky_relu(x, 0.2))
        return x

    def finish(self, layer: str, cut: Cut, written: torch.Tensor, demodulation: torch.Tensor | None) -> torch.Tensor:
        return written + self.module[layer].bias[:, None, None]

    def _features(self, layer: str, z: torch.Tensor) -> torch.Tensor:
        x = self.module["lift"](z).reshape(1, 3, 6, 6)
        for name in list(self.layers)[: list(self.layers).index(layer)]:
            x = F.leaky_relu(self.module[name](x), 0.2)
        return x


class Peak:
    """The most memory that this process held since the last call, where Linux tells."""

    def __init__(self):
        self.known = Path("/proc/self/clear_refs").exists()

    def start(self) -> None:
        if self.known:
            Path("/proc/self/clear_refs").write_text("5")
            self.before = self._field("VmRSS")

    def bytes(self) -> int:
        return self._field("VmHWM") - self.before if self.known else 0

    def _field(self, name: str) -> int:
        line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(name))
        return int(line.split()[1]) * 1024


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


def marked_rule(path: Path, side: int = 16, **changes) -> Rule:
    """A rule of a saved tiny generator, whose masks are `side` pixels high and wide."""
    mask = np.zeros((side, side), dtype=bool)
    mask[4:8, 4:8] = True
    regions = tuple(Region(Latent(seed), Mask.from_array(mask)) for seed in (1, 2))
    fingerprint = load_generator(path).fingerprint
    rule = Rule("r", fingerprint, "b16.conv1", copy=regions[:1], context=regions, settings=Settings())
    return replace(rule, **changes)


def edit_of(path: Path, layer: str) -> tuple[Generator, Patch]:
    """The generator that a file holds, and a rule solved on it."""
    generator = load_generator(path)
    rule = marked_rule(path, generator.size[0], layer=layer)
    return generator, solve(generator, measure(generator, layer, 20), rule)


def patch_of(generator: Generator, layer: str, seed: int = 0) -> Patch:
    """A random patch of two directions."""
    described, drawn = generator.layer(layer), torch.Generator().manual_seed(seed)
    return Patch(
        layer=layer,
        left=0.3 * torch.randn(described.outputs, 2, generator=drawn),
        right=torch.randn(2, described.width, generator=drawn),
        base=hash_of({"weight": generator.weight(layer)}),
        model=generator.fingerprint,
        rules=(f'{{"name": "rule {seed}"}}',),
    )


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


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A browser for the tests of one file: while it runs, its thread cannot begin an event loop."""
    from tests.editors import chromium

    with chromium() as found:
        yield found


@pytest.fixture
def open_page(browser, towers_editor) -> Iterator[Callable[..., "Page"]]:
    """Open the editor in a browser session of its own; at the end, nothing was wrong and nothing went elsewhere."""
    contexts, wrong, asked = [], [], []

    def open_it(url: str = towers_editor.url, **how) -> "Page":
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "accept_downloads": True, **how})
        contexts.append(context)
        context.set_default_timeout(90_000)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        page.wait_for_selector("#wall .wall[data-ready='1']")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []
    assert {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))} == {"127.0.0.1"}


class FileServer(BaseHTTPRequestHandler):
    """A server of one file that understands ranges, and that can break off or answer badly."""

    content = bytes(range(256)) * 2000
    kind = "application/octet-stream"
    ranges = True
    tag: str | None = None
    breaks_after: int | None = None
    asked: tuple[str | None, ...] = ()

    def do_GET(self):
        asked = self.headers.get("Range")
        type(self).asked = (*self.asked, asked)
        if self.path == "/missing":
            self.send_error(404, "Not Found")
            return
        resumes = asked and self.ranges and self.headers.get("If-Range", self.tag) == self.tag
        first = int(asked.removeprefix("bytes=").rstrip("-")) if resumes else 0
        if first >= len(self.content):
            self.send_error(416, "Range Not Satisfiable")
            return
        self.send_response(206 if resumes else 200)
        if resumes:
            self.send_header("Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}")
        if self.tag:
            self.send_header("ETag", self.tag)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.content) - first))
        self.end_headers()
        self.wfile.write(self.content[first:][: self.breaks_after])

    def log_message(self, *arguments):
        pass


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
