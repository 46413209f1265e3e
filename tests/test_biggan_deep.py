"""BigGAN-deep, of its authors and of Hugging Face's port: images beside an independent statement, edits, refusals."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rewrite import export, load_generator
from rewrite.checkpoints.biggan_port import HEADS, WORDS, left_of
from rewrite.generators.biggan_deep import BigGANDeep, DeepDesign
from tests.networks import patch_of

CHANNELS = (16, 16, 8)
AUTHORS = DeepDesign(5, z_dim=4, shared=3, side=4, channels=CHANNELS, doubles=(1,), attends=(0,))
PORT = replace(
    AUTHORS, shared=4, doubles=(0,), colours=8, stats=11, epsilon=1e-4, class_first=False, channels_last=True
)
CONFIG = {"layers": [[True, 2, 2], [False, 2, 1]], "eps": 1e-4, "n_stats": 11}
EDITS = [
    ("blocks.1.0.conv2", "same"),
    ("blocks.0.0.bn1.bias", "same"),
    ("blocks.0.1.o", "same"),
    ("linear", "state-dict"),
]


def tensors_of(design: DeepDesign) -> dict[str, Tensor]:
    """Numbers by the names of our network, which are those of the authors."""
    torch.manual_seed(0)
    state = {name: torch.randn_like(each) / 2 for name, each in BigGANDeep(design).state_dict().items()}
    return {name: 1 + each.abs() if name.endswith("var") else each for name, each in state.items()}


def authors_state(design: DeepDesign = AUTHORS) -> dict[str, Tensor]:
    """Tensors by the names of `G_ema.pth`, each weight beside a vector that has nearly its largest direction."""
    state = {name: each[0] if "stored" in name else each for name, each in tensors_of(design).items()}
    for name, weight in list(state.items()):
        if name.endswith("weight") and not name.startswith("shared"):
            left = torch.linalg.svd(weight.flatten(1))[0][:, 0]
            beside = name.removesuffix("weight")
            state[f"{beside}u0"] = F.normalize(left + 0.2 * torch.randn_like(left), dim=0)[None]
            state[f"{beside}sv0"] = torch.ones(1)
    return state


def port_state() -> dict[str, Tensor]:
    """Tensors by the names of `pytorch_model.bin`, under torch's spectral norm."""
    theirs, state = {ours: name for name, ours in WORDS.items()}, {}
    heads = {ours: name for name, ours in HEADS.items()}
    layers = {"0.0": 0, "0.1": 1, "1.0": 2}
    for name, each in tensors_of(PORT).items():
        if name.startswith("blocks."):
            _, block, part, *rest = name.split(".")
            words = [theirs.get(word, word) for word in rest if word != "weight"]
            renamed = ".".join(["generator.layers", str(layers[f"{block}.{part}"]), *words])
            renamed += ".weight" if rest[-1] == "weight" else ""
            # The bias of a convolution is a bias in the port as well.
            renamed = renamed.replace("offset", "bias") if rest[0].startswith("conv") else renamed
        else:
            head, _, last = name.rpartition(".")
            renamed = heads.get(name) or f"{heads[head]}.{theirs[last] if 'stored' in last else last}"
        if each.ndim > 1 and name.endswith("weight") and not name.startswith("shared"):
            left, _, right = torch.linalg.svd(each.flatten(1))
            left, right = (F.normalize(x + 0.2 * torch.randn_like(x), dim=0) for x in (left[:, 0], right[0]))
            state |= {f"{renamed}_orig": each, f"{renamed}_u": left, f"{renamed}_v": right}
        else:
            state[renamed] = each
    return state


class AuthorsFile:
    """What the authors' code reads of a state in evaluation."""

    def __init__(self, state: dict[str, Tensor]):
        self.state, self.epsilon = state, 1e-5

    def weight(self, name: str) -> Tensor:
        full = self.state[f"{name}.weight"]
        if f"{name}.u0" not in self.state:
            return full
        right = F.normalize(self.state[f"{name}.u0"][0] @ full.flatten(1), dim=0)
        return full / (full.flatten(1) @ right).norm()

    def number(self, name: str, _: float) -> Tensor | None:
        return self.state.get(name)

    def embedded(self, label: int) -> Tensor:
        return self.state["shared.weight"][label]

    def joined(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.cat([y, z])

    def first(self, x: Tensor) -> Tensor:
        return x.reshape(1, -1, 4, 4)


class PortedFile(AuthorsFile):
    """What Hugging Face's code reads of a state in evaluation, by the authors' names."""

    def __init__(self, state: dict[str, Tensor]):
        super().__init__(state)
        self.epsilon, layers = 1e-4, ("0.0", "0.1", "1.0")
        self.heads = {f"blocks.{each}": f"generator.layers.{number}" for number, each in enumerate(layers)}
        self.heads |= {"linear": "generator.gen_z", "output_layer.0": "generator.bn"}
        self.heads |= {"output_layer.2": "generator.conv_to_rgb"}

    def named(self, name: str) -> str:
        for ours, theirs in self.heads.items():
            if name.startswith(ours):
                name = theirs + name[len(ours) :]
        for number in (1, 2, 3, 4):
            name = name.replace(f".conv{number}", f".conv_{number - 1}").replace(f".bn{number}", f".bn_{number - 1}")
            name = name.replace(f"bn_{number - 1}.bias", f"bn_{number - 1}.offset")
        name = name.replace("bn.gain", "bn.weight").replace(".gain", ".scale").replace(".stored_", ".running_")
        for part in ("theta", "phi", "g"):
            name = name.replace(f"generator.layers.1.{part}", f"generator.layers.1.snconv1x1_{part}")
        name = name.replace("snconv1x1_gamma", "gamma").replace("layers.1.o", "layers.1.snconv1x1_o_conv")
        return name + "s" if name.endswith(("running_mean", "running_var")) else name

    def weight(self, name: str) -> Tensor:
        theirs = f"{self.named(name)}.weight"
        if f"{theirs}_orig" not in self.state:
            return self.state[theirs]
        full, left, right = (self.state[f"{theirs}_{end}"] for end in ("orig", "u", "v"))
        return full / (left @ full.flatten(1) @ right)

    def number(self, name: str, truncation: float) -> Tensor | None:
        found = self.state.get(self.named(name))
        if found is None or "stored" not in name:
            return found
        share, row = math.modf(truncation / 0.1)
        near = found[int(row)]
        return near * share + found[int(row) + 1] * (1 - share) if share else near

    def embedded(self, label: int) -> Tensor:
        return self.state["embeddings.weight"][:, label]

    def joined(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.cat([z, y])

    def first(self, x: Tensor) -> Tensor:
        return x.reshape(1, 4, 4, -1).permute(0, 3, 1, 2)


def drawn(file: AuthorsFile, doubles: tuple[int, ...], z: Tensor, classes: list[int], truncation=1.0) -> Tensor:
    """What BigGAN-deep draws, image by image and part by part."""

    def conv(name, x):
        kernel = file.weight(name)
        return F.conv2d(x, kernel, file.number(f"{name}.bias", truncation), padding=kernel.shape[2] // 2)

    def normed(name, x):
        mean, variance = (file.number(f"{name}.stored_{each}", truncation)[:, None, None] for each in ("mean", "var"))
        return (x - mean) / (variance + file.epsilon).sqrt()

    def lit(name, x, y):
        gain, bias = (file.weight(f"{name}.{each}") @ y for each in ("gain", "bias"))
        return (normed(name, x) * (1 + gain)[:, None, None] + bias[:, None, None]).relu()

    def attention(name, x):
        query, key, value = (conv(f"{name}.{each}", x) for each in ("theta", "phi", "g"))
        key, value = (F.max_pool2d(each, 2).flatten(2)[0] for each in (key, value))
        shares = (query.flatten(2)[0].T @ key).softmax(dim=1)
        gamma = file.number(f"{name}.gamma", truncation)
        return x + gamma * conv(f"{name}.o", (value @ shares.T).reshape(1, -1, *x.shape[2:]))

    def image(numbers, label):
        y = file.joined(numbers, file.embedded(label))
        x = file.first(file.weight("linear") @ y + file.number("linear.bias", truncation))
        for block in range(2):
            name, factor = f"blocks.{block}.0", 2 if block in doubles else 1
            h = lit(f"{name}.bn2", conv(f"{name}.conv1", lit(f"{name}.bn1", x, y)), y)
            h, x = (each.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3) for each in (h, x))
            h = conv(f"{name}.conv3", lit(f"{name}.bn3", conv(f"{name}.conv2", h), y))
            h = conv(f"{name}.conv4", lit(f"{name}.bn4", h, y))
            x = h + x[:, : h.shape[1]]
            x = attention("blocks.0.1", x) if block == 0 else x
        gain, bias = (file.number(f"output_layer.0.{each}", truncation)[:, None, None] for each in ("gain", "bias"))
        return conv("output_layer.2", (normed("output_layer.0", x) * gain + bias).relu())[:, :3].tanh()

    return torch.cat([image(numbers, label) for numbers, label in zip(z, classes, strict=True)])


def written(folder: Path, kind: str) -> Path:
    """A file of either tool."""
    if kind == "authors":
        torch.save(authors_state(), folder / "G_ema.pth")
        return folder / "G_ema.pth"
    torch.save(port_state(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder / "pytorch_model.bin"


def expected_of(kind: str, state: dict[str, Tensor], z: Tensor, classes: list[int], truncation=1.0) -> Tensor:
    if kind == "authors":
        return drawn(AuthorsFile(state), AUTHORS.doubles, z, classes)
    return drawn(PortedFile(state), PORT.doubles, z, classes, truncation)


@pytest.fixture(params=["authors", "port"])
def kind(request):
    return request.param


def test_a_biggan_deep_draws_its_images_of_every_class(tmp_path, kind):
    path = written(tmp_path, kind)
    generator = load_generator(path, label="mixed,2:0")
    assert (generator.classes, generator.z_dim, generator.size) == (5, 4, (8, 8))
    assert generator.assumed == ()
    for generator.truncation in (1.0, 0.5, 0.43):
        z = generator.latents([1, 2, 8]).z * generator.truncation
        expected = expected_of(kind, torch.load(path), z, [1, 0, 3], generator.truncation)
        torch.testing.assert_close(generator.sample([1, 2, 8]), expected, rtol=0, atol=1e-5)
        assert expected.std() > 0.05


@pytest.mark.parametrize(("layer", "container"), EDITS)
def test_the_original_code_draws_an_edit_from_the_exported_file(tmp_path, kind, layer, container):
    path = written(tmp_path, kind)
    out = path.with_name(f"edited-{path.name}")
    (tmp_path / "edited-config.json").write_text(json.dumps(CONFIG))
    generator = load_generator(path)
    patch = patch_of(generator, layer)
    with patch.applied(generator):
        expected = generator.sample([1, 2])
    export(generator, patch, out, container=container)
    before, state = torch.load(path), torch.load(out)
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, state[name])}
    assert len(changed) == 2
    assert {name.rpartition(".")[2] for name in changed} in ({"weight", "u0"}, {"weight_orig", "weight_u"})
    found = expected_of(kind, state, generator.latents([1, 2]).z, [0, 0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(load_generator(out).sample([1, 2]), expected, rtol=0, atol=1e-4)
    assert (expected - generator.sample([1, 2])).abs().max() > 1e-3


def test_a_port_without_its_configuration_says_what_it_takes_to_be_so(tmp_path):
    path = written(tmp_path, "port")
    (tmp_path / "config.json").unlink()
    generator = load_generator(path)
    assert "every other block doubles the side, and 0.0001 is added" in generator.assumed[0]
    z = generator.latents([3]).z
    torch.testing.assert_close(generator.sample([3]), drawn(PortedFile(port_state()), (1,), z, [0]), rtol=0, atol=1e-5)
    path = path.rename(tmp_path / "biggan-deep-8-pytorch_model.bin")
    (tmp_path / "biggan-deep-8-config.json").write_text(json.dumps(CONFIG))
    assert load_generator(path).assumed == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers": CONFIG["layers"][:1]}, "is of another network than .*, which has 2 blocks"),
        ({"layers": [1, 2]}, "is of another network"),
        ({"layers": [[], []]}, "is of another network"),
        ({"eps": 0}, "says that 0 is added to variances"),
        ({"eps": "small"}, "says that 'small' is added to variances"),
    ],
)
def test_a_configuration_of_another_network_is_refused(tmp_path, changes, said):
    path = written(tmp_path, "port")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | changes))
    with pytest.raises(ValueError, match=said):
        load_generator(path)


def test_what_the_authors_file_does_not_say_is_said(tmp_path):
    even = replace(AUTHORS, channels=(8, 8, 8, 8, 8), attends=())
    torch.save(authors_state(even), tmp_path / "G.pth")
    generator = load_generator(tmp_path / "G.pth")
    assert generator.assumed == ("every other block doubles the side: images are of 16 pixels",)
    later = replace(AUTHORS, colours=8, class_first=False)
    torch.save(authors_state(later), tmp_path / "G.pth")
    generator = load_generator(tmp_path / "G.pth")
    assert "z comes before the class" in generator.assumed[0]
    file, z = AuthorsFile(authors_state(later)), generator.latents([3]).z
    file.joined = lambda z, y: torch.cat([z, y])
    torch.testing.assert_close(generator.sample([3]), drawn(file, (1,), z, [0]), rtol=0, atol=1e-5)


def test_parts_that_are_not_known_or_missing_are_refused(tmp_path, kind):
    path = written(tmp_path, kind)
    state = torch.load(path)
    more = {"authors": "blocks.0.0.conv5.weight", "port": "generator.layers.0.conv_5.weight_orig"}[kind]
    torch.save(state | {more: torch.zeros(2, 2)}, path)
    with pytest.raises(ValueError, match=f"with {more}, which is not read here"):
        load_generator(path)
    lost = {"authors": "blocks.1.0.conv2.weight", "port": "generator.layers.2.conv_1.weight_orig"}[kind]
    torch.save({name: each for name, each in state.items() if name != lost}, path)
    with pytest.raises(ValueError, match="is not a complete BigGAN-deep"):
        load_generator(path)


def test_a_weight_that_writes_nothing_along_its_largest_direction_cannot_be_divided_by_it():
    right = torch.tensor([1.0, 0, 0])
    weight = torch.tensor([[3.0, 1, 2], [4.0, 1, 0]])
    assert left_of(weight, right, "") @ weight @ right == pytest.approx(1)
    with pytest.raises(ValueError, match=r"linear\.weight cannot be zero along its largest direction"):
        left_of(weight * torch.tensor([0.0, 1, 1]), right, "a.bin: linear.weight")
