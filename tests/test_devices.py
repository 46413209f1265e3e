"""A generator moves: to another device, where everything gives what it gives on the CPU, and to another precision."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from apps.cli import build_parser
from dissect import GeneratorProbe, Intervention, NetworkSource, Painting, Prefix, Stroke, ablation_patch, dissect
from dissect.quality.inversion import invert
from dissect.segmenter import Segmenter
from rewrite import (
    Concepts,
    Generator,
    Latent,
    Mask,
    Region,
    Rule,
    firing,
    load_generator,
    measure,
    report_on,
    solve,
    wrap,
)
from rewrite.generators.devices import device_named
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.goals.preview import preview
from tests.elsewhere import PLACE, elsewhere
from tests.networks import PlainGenerator, random_stylegan2, random_stylegan3

SEEDS = (0, 1, 2)


class Drawing(nn.Module):
    """A network of the user's."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lift, self.conv = nn.Linear(5, 4 * 16), nn.Conv2d(4, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = F.leaky_relu(self.lift(z)).reshape(-1, 4, 4, 4)
        return torch.tanh(self.up(F.leaky_relu(self.conv(x))))


KINDS: dict[str, tuple[Callable[[], Generator], str]] = {
    "StyleGAN2": (lambda: StyleGAN2Generator(random_stylegan2()), "b8.conv0"),
    "StyleGAN3": (random_stylegan3, "L1_20_12"),
    "plain": (PlainGenerator, "conv"),
    "wrapped": (lambda: wrap(Drawing(), latents=5), "conv"),
}


def rule_on(generator: Generator, layer: str, **settings) -> Rule:
    height, width = generator.size
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside = (rows >= height // 2) & (rows < height // 2 + 4) & (columns >= 2) & (columns < 6)
    regions = tuple(Region(Latent(seed), Mask.from_array(inside.numpy())) for seed in SEEDS)
    rule = Rule("moved", generator.fingerprint, layer, copy=regions[:1], context=regions[1:])
    return rule.with_settings(refine=2, **settings)


def drawn(generator: Generator, layer: str) -> Tensor:
    return generator.sample(SEEDS)


def measured(generator: Generator, layer: str) -> Tensor:
    return torch.cat([measure(generator, layer, 8, key_space=space).total.flatten() for space in ("patch", "channel")])


def solved(generator: Generator, layer: str) -> Tensor:
    rule = rule_on(generator, layer)
    patch, wanted = solve(generator, measure(generator, layer, 8), rule), preview(generator, rule)
    with patch.applied(generator):
        edited = generator.sample(SEEDS).cpu()
    found = report_on(generator, patch, seeds=SEEDS).document()
    figures = torch.tensor([image["moved"] for image in found["per_image"]])
    return torch.cat([edited.flatten(), figures, *(each.flatten() for each in wanted.values())])


def searched(generator: Generator, layer: str) -> Tensor:
    return firing(generator, measure(generator, layer, 8), rule_on(generator, layer), SEEDS, samples=8)


def switched(generator: Generator, layer: str) -> Tensor:
    mask = torch.zeros(Prefix.of(generator, layer, SEEDS).output.shape[2:])
    mask[1:] = 1
    patch = ablation_patch(generator, layer, [0, 1], seeds=SEEDS)
    with patch.applied(generator):
        edited = generator.sample(SEEDS)
    return torch.cat([edited, Prefix.of(generator, layer, SEEDS).images(Intervention.off([0], mask))])


ON_ANY = [drawn, measured, solved, searched, switched]


@pytest.mark.parametrize("work", ON_ANY)
@pytest.mark.parametrize(
    ("kind", "narrow"), [*((kind, False) for kind in KINDS), ("StyleGAN2", True)], ids=[*KINDS, "without float64"]
)
def test_every_step_gives_on_another_device_what_it_gives_on_the_cpu(kind, narrow, work, monkeypatch):
    make, layer = KINDS[kind]
    near = make()
    expected = work(near, layer)
    with elsewhere(monkeypatch, narrow=narrow) as place:
        far = near.to(place)
        assert far.device == place
        found = work(far, layer).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, check_dtype=False)


def striped(images: Tensor) -> Tensor:
    """Scores of three concepts by colour."""
    return torch.cat([images[:, :2], -images[:, :2].mean(dim=1, keepdim=True)], dim=1)


class Striping(nn.Module):
    """A network that names pixels by their colour."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return 8 * (self.conv(images) + striped(images))


def striping() -> NetworkSource:
    torch.manual_seed(2)
    return NetworkSource(Striping(), Concepts.of(("red", "green", "dark")))


def dissected(generator: Generator, layer: str) -> Tensor:
    probe = GeneratorProbe(generator, [layer], striping())
    found = dissect(probe, 20, level_samples=8, informative=True)[layer]
    return torch.cat([each.double().flatten() for each in found.tensors().values()])


def test_a_network_that_names_pixels_may_stand_on_another_device(tiny_generator, monkeypatch):
    expected = dissected(tiny_generator, "b8.conv1")
    with elsewhere(monkeypatch, narrow=False) as place:
        found = dissected(tiny_generator.to(place), "b8.conv1")
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_does_not_change_the_fingerprint(kind, monkeypatch):
    generator = KINDS[kind][0]()
    before = generator.fingerprint
    with elsewhere(monkeypatch, narrow=False) as place:
        assert generator.to(place) is generator
        assert generator.fingerprint == before


def test_a_memory_and_a_patch_of_one_device_are_those_of_another(tiny_generator, monkeypatch):
    rule = rule_on(tiny_generator, "b8.conv1")
    memory = measure(tiny_generator, rule.layer, 8)
    patch = solve(tiny_generator, memory, rule)
    with patch.applied(tiny_generator):
        edited = tiny_generator.sample(SEEDS)
    with elsewhere(monkeypatch, narrow=False) as place:
        memory.check(tiny_generator.to(place), rule.layer)
        with patch.applied(tiny_generator):
            assert torch.equal(tiny_generator.sample(SEEDS).cpu(), edited)


@pytest.mark.parametrize("work", ON_ANY)
@pytest.mark.parametrize("kind", ["StyleGAN2", "StyleGAN3", "wrapped"])
def test_every_step_runs_in_float64_and_gives_nearly_the_same(kind, work):
    make, layer = KINDS[kind]
    generator = make()
    expected = work(generator, layer)
    found = work(generator.to(torch.float64), layer)
    if work in (drawn, switched):
        assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2, check_dtype=False)


@pytest.mark.parametrize("kind", KINDS)
def test_float16_draws_nearly_the_same(kind):
    generator = KINDS[kind][0]()
    expected = generator.sample(SEEDS)
    found = generator.to(dtype=torch.float16).sample(SEEDS)
    assert found.dtype == generator.dtype == torch.float16
    assert (found - expected).abs().max() < 0.1


def test_a_precision_makes_another_network_until_it_is_taken_back(tiny_generator):
    before, images, memory = (
        tiny_generator.fingerprint,
        tiny_generator.sample(SEEDS),
        measure(tiny_generator, "b8.conv1", 8),
    )
    tiny_generator.to(torch.float64)
    assert tiny_generator.fingerprint != before
    with pytest.raises(ValueError, match="measured on model"):
        memory.check(tiny_generator, "b8.conv1")
    assert tiny_generator.to(torch.float32).fingerprint == before
    assert torch.equal(tiny_generator.sample(SEEDS), images)
    memory.check(tiny_generator, "b8.conv1")


def test_weights_are_of_floating_point(tiny_generator):
    with pytest.raises(ValueError, match=r"floating-point type, got torch\.int64"):
        tiny_generator.to(torch.int64)


@pytest.mark.parametrize("name", ["cuda", "cuda:17", "mps", "gpu"])
def test_a_device_that_is_not_there_is_refused_in_a_sentence(name, monkeypatch):
    monkeypatch.setattr("rewrite.generators.devices.ACCELERATORS", {"cuda": lambda: False, "mps": lambda: False})
    with pytest.raises(ValueError, match=f"device.*{name}"):
        load_generator(device=name)


def test_auto_is_the_fastest_device_that_is_there(monkeypatch):
    for there, expected in (((), "cpu"), (("mps",), "mps"), (("cuda", "mps"), "cuda")):
        found = {each: (lambda each=each, there=there: each in there) for each in ("cuda", "mps")}
        monkeypatch.setattr("rewrite.generators.devices.ACCELERATORS", found)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        assert device_named("auto").type == expected


TINY = {
    "sample": "MODEL --seeds 0-2 --patch PATCH --compare --heat RULE --samples 8 --out OUT.png",
    "measure": "MODEL --layer b8.conv1 --samples 8 --out OUT.safetensors",
    "solve": "RULE --model MODEL --samples 8 --out OUT.safetensors",
    "propose": "RULE --model MODEL --seeds 5-14 --accept all --out OUT",
    "report": "PATCH --model MODEL --seeds 5-8 --out OUT",
    "units": "MODEL --layer b8.conv1 --samples 8 --level-samples 4 --out OUT",
    "rotation": "MODEL --layer b8.conv1 --samples 8 --level-samples 4 --out OUT",
    "effects": "MODEL --layer b8.conv1 --concepts roof --samples 2 --training 4 --screen 1 --steps 1 "
    "--positions 1 --out OUT",
    "ablate": "MODEL --layer b8.conv1 --units 1,2 --seeds 0-3 --out OUT.safetensors",
    "artifacts": "MODEL --layer b8.conv1 --samples 20 --choose 8 --test 8 --good 8 --random 1 --most 1 --out OUT",
    "rule": "towers --context tree --seeds 0-9 --out OUT.json",
    "omissions": "towers --samples 4 --invert 1 --steps 1 --out OUT",
    "paint": "STROKES --out OUT.png",
    "invert": "MODEL PICTURE --steps 2 --starts 2 --out OUT.safetensors",
}


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("command", TINY)
def test_every_command_answers_on_another_device_what_it_answers_on_the_cpu(
    command, files, answer, tmp_path, monkeypatch
):
    monkeypatch.setattr(Segmenter, "_batched", torch.no_grad()(Segmenter._batched.__wrapped__))
    monkeypatch.setattr("apps.parsers.parser.DEVICES", ("cpu", PLACE.type))
    monkeypatch.setattr("dissect.causes.causes.POINTS", (1, 4))
    monkeypatch.setattr("apps.commands.omissions.invert", partial(invert, starts=4))
    painting = Painting(load_generator().fingerprint, "b16.conv1", 3)
    painting.add(Stroke(Mask((64, 64), ((2000, 40),)), "tree")).save(tmp_path / "strokes.json")
    Image.new("RGB", (20, 20), "green").save(tmp_path / "picture.png")
    given = {
        "MODEL": files["model"],
        "RULE": files["rule"],
        "PATCH": files["patch"],
        "STROKES": tmp_path / "strokes.json",
        "PICTURE": tmp_path / "picture.png",
    }

    def answered(device: str) -> dict:
        out = tmp_path / device / "out"
        arguments = [str(given.get(each, each)).replace("OUT", str(out)) for each in TINY[command].split()]
        return without_paths(answer(command, *arguments, "--device", device))

    expected = answered("cpu")
    with elsewhere(monkeypatch, narrow=False) as place:
        assert answered(place.type) == expected


def test_every_command_that_takes_a_model_takes_a_device():
    commands = build_parser()._subparsers._group_actions[0].choices
    takes = {name: {each.dest for each in parser._actions} for name, parser in commands.items()}
    assert {name for name, options in takes.items() if "device" in options} == {
        *(*TINY, "demo", "app"),
        *("adversarial", "check", "compare", "pairs", "roles", "specialise"),  # whose own tests run them
    }
    without = {name for name, options in takes.items() if "model" in options and "device" not in options}
    assert without == {"export", "bench"}  # which runs no network, and which counts the time of the processor


def test_a_device_that_is_not_there_is_refused_by_commands(files, refusal, tmp_path, monkeypatch):
    monkeypatch.setattr("rewrite.generators.devices.ACCELERATORS", {"cuda": lambda: False})
    said = refusal("sample", files["model"], "--device", "cuda", "--out", tmp_path / "grid.png")
    assert "no device cuda" in said


def without_paths(found: object) -> object:
    """What a command answers, but for where it wrote, with six digits of each number."""
    if isinstance(found, dict):
        return {name: without_paths(each) for name, each in found.items() if name != "out"}
    if isinstance(found, list):
        return [without_paths(each) for each in found]
    return float(f"{found:.5g}") if isinstance(found, float) else found
