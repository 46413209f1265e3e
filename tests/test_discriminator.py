"""Discriminators of StyleGAN2 are read from the files of training, and judge as plain formulas say."""

from collections import OrderedDict

import pytest
import torch
from torch.nn import functional as F

from rewrite import load_discriminator
from rewrite.generators.discriminator import Discriminator, DiscriminatorDesign
from tests.networks import CHANNELS, random_discriminator, random_stylegan2
from tests.nvidia_files import discriminator, pickled, stylegan2, write_network

DESIGNS = {
    "resnet": {},
    "skip": {"architecture": "skip"},
    "orig": {"architecture": "orig"},
    "classes": {"c_dim": 3, "cmap_dim": 7, "mapping_layers": 2},
    "clamped": {"clamp": 0.3},
    "whole batch": {"group": None, "spreads": 2},
    "alone": {"spreads": 0},
    "grey": {"colours": 1},
}


def some_images(network: Discriminator, count: int = 8) -> torch.Tensor:
    design, drawn = network.design, torch.Generator().manual_seed(5)
    return torch.rand(count, design.colours, design.side, design.side, generator=drawn) * 2 - 1


def classes_of(network: Discriminator, count: int = 8) -> torch.Tensor | None:
    classes = network.design.c_dim
    return F.one_hot(torch.arange(count) % classes, classes).float() if classes else None


def halved(x: torch.Tensor) -> torch.Tensor:
    """Every second pixel of x behind the filter [1, 3, 3, 1], written out tap by tap."""
    taps, side = (1 / 8, 3 / 8, 3 / 8, 1 / 8), x.shape[-1]
    padded = F.pad(x, (1, 1, 1, 1))
    return sum(
        a * b * padded[..., i : i + side - 1 : 2, j : j + side - 1 : 2]
        for i, a in enumerate(taps)
        for j, b in enumerate(taps)
    )


def reference(network: Discriminator, images: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
    """The published arithmetic, written out on the state dict."""
    state, design = network.state_dict(), network.design
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8

    def layer(name: str, x: torch.Tensor, *, limit: bool = True, gain: float = 1.0) -> torch.Tensor:
        weight, half = state[f"{name}.weight"], state[f"{name}.weight"].shape[-1] // 2
        y = F.conv2d(x, weight / weight[0].numel() ** 0.5, padding=half)
        y = F.leaky_relu(y + state[f"{name}.bias"][None, :, None, None], 0.2) * 2**0.5 * gain
        return y.clamp(-design.clamp * gain, design.clamp * gain) if design.clamp and limit else y

    def halving(name: str, x: torch.Tensor, gain: float) -> torch.Tensor:
        """Blur along one axis, then along the other, then a convolution of every second place."""
        weight, x = state[f"{name}.weight"], F.pad(x, (2, 2, 2, 2))
        for shape in ((4, 1), (1, 4)):
            x = F.conv2d(x, taps.reshape(1, 1, *shape).expand(x.shape[1], 1, *shape), groups=x.shape[1])
        y = F.conv2d(x, weight / weight[0].numel() ** 0.5)[..., ::2, ::2]
        y = F.leaky_relu(y + state[f"{name}.bias"][None, :, None, None], 0.2) * 2**0.5 * gain
        return y.clamp(-design.clamp * gain, design.clamp * gain) if design.clamp else y

    x, image = 0, images
    for side in (16, 8):
        if side == 16 or design.architecture == "skip":
            x = x + layer(f"b{side}.fromrgb", image)
        gain = 0.5**0.5 if design.architecture == "resnet" else 1.0
        y = halving(f"b{side}.conv1", layer(f"b{side}.conv0", x), gain)
        if design.architecture == "resnet":
            weight = state[f"b{side}.skip.weight"]
            y = y + F.conv2d(halved(x), weight / weight[0].numel() ** 0.5) * gain
        x, image = y, halved(image)
    if design.architecture == "skip":
        x = x + layer("b4.fromrgb", image, limit=False)
    if design.spreads:
        group = min(design.group or len(x), len(x))
        spread = torch.zeros(len(x), design.spreads, 4, 4)
        for first in range(len(x) // group):
            members = x[first :: len(x) // group]
            apart = (members.var(dim=0, unbiased=False) + 1e-8).sqrt()
            for number, part in enumerate(apart.chunk(design.spreads)):
                spread[first :: len(x) // group, number] = part.mean()
        x = torch.cat([x, spread], dim=1)
    x = layer("b4.conv", x).flatten(1)
    x = F.linear(x, state["b4.fc.weight"] / x.shape[1] ** 0.5) + state["b4.fc.bias"]
    x = F.leaky_relu(x, 0.2) * 2**0.5
    x = F.linear(x, state["b4.out.weight"] / x.shape[1] ** 0.5) + state["b4.out.bias"]
    if classes is None:
        return x[:, 0]
    y = F.linear(classes, state["mapping.embed.weight"] / 3**0.5) + state["mapping.embed.bias"]
    y = y / (y.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for name in ("mapping.fc0", "mapping.fc1"):
        rate = design.mapping_rate
        y = F.linear(y, state[f"{name}.weight"] * rate / y.shape[1] ** 0.5, state[f"{name}.bias"] * rate)
        y = F.leaky_relu(y, 0.2) * 2**0.5
    return (x * y).sum(dim=1) / 7**0.5


@pytest.mark.parametrize("how", DESIGNS.values(), ids=DESIGNS)
def test_a_discriminator_judges_as_the_formulas_say(how):
    network = random_discriminator(**how)
    images, classes = some_images(network), classes_of(network)
    expected = reference(network, images, classes)
    assert expected.std() > 1e-3
    torch.testing.assert_close(network(images, classes), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", DESIGNS.values(), ids=DESIGNS)
def test_a_pickle_of_nvidia_holds_its_discriminator(tmp_path, how):
    network = random_discriminator(**how)
    path = write_network(tmp_path / "model.pkl", stylegan2(random_stylegan2()), D=discriminator(network))
    found = load_discriminator(path)
    assert found.design.group == network.design.group or not network.design.spreads
    images, classes = some_images(network), classes_of(network)
    assert torch.equal(found(images, classes), network(images, classes))
    assert torch.equal(found.features(images), network.features(images))


def rosinality_state(network: Discriminator) -> OrderedDict:
    """The tensors by rosinality's names."""
    ours, theirs = network.state_dict(), OrderedDict()
    theirs["convs.0.0.weight"], theirs["convs.0.1.bias"] = ours["b16.fromrgb.weight"], ours["b16.fromrgb.bias"]
    for number, side in ((1, "b16"), (2, "b8")):
        for name, place in (("conv1.0", "conv0"), ("conv2.1", "conv1"), ("skip.1", "skip")):
            theirs[f"convs.{number}.{name}.weight"] = ours[f"{side}.{place}.weight"]
        theirs[f"convs.{number}.conv1.1.bias"] = ours[f"{side}.conv0.bias"]
        theirs[f"convs.{number}.conv2.2.bias"] = ours[f"{side}.conv1.bias"]
        theirs[f"convs.{number}.conv2.0.kernel"] = torch.ones(4, 4)
    theirs["final_conv.0.weight"], theirs["final_conv.1.bias"] = ours["b4.conv.weight"], ours["b4.conv.bias"]
    for number, place in enumerate(("fc", "out")):
        for part in ("weight", "bias"):
            theirs[f"final_linear.{number}.{part}"] = ours[f"b4.{place}.{part}"]
    return theirs


def test_a_file_of_rosinalitys_port_holds_its_discriminator(tmp_path):
    network = random_discriminator()
    torch.save({"g": {}, "d": rosinality_state(network), "d_optim": {"state": {}}}, tmp_path / "model.pt")
    found, images = load_discriminator(tmp_path / "model.pt"), some_images(network)
    assert torch.equal(found(images), network(images))


def test_images_are_compared_within_their_group_and_judged_alone_if_asked_to():
    network = random_discriminator()
    images = some_images(network)
    together = network(images)
    assert not torch.allclose(together[:4], network(images[:4]))
    with pytest.raises(ValueError, match="compares 4 images with one another, got 6"):
        network(images[:6])
    network.b4.group = 1
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone, rtol=1e-5, atol=1e-6)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"reads images of \(3, 16, 16\), got \(3, 8, 8\)"):
        random_discriminator()(torch.zeros(4, 3, 8, 8))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"architecture": "deep"}, "the architecture is one of"),
        ({"channels": {8: 4}}, "sides halve down to 4"),
        ({"channels": {4: 6, 16: 4}}, "sides halve down to 4"),
        ({"group": 0}, "is at least 1"),
        ({"spreads": -1}, "-1 spreads are of as many channels each"),
        ({"spreads": 4}, "4 spreads are of as many channels each, got 6"),
        ({"c_dim": 2}, "classes have a direction"),
    ],
)
def test_a_design_that_cannot_be_is_refused(how, message):
    with pytest.raises(ValueError, match=message):
        DiscriminatorDesign(**{"channels": CHANNELS, **how})


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("final_conv.0.weight", "holds no discriminator that is known here"),
        ("convs.1.skip.1.weight", r"b16\.skip\.weight is missing"),
        ("convs.2.conv1.0.weight", "is no"),
        ("final_linear.1.bias", r"b4\.out\.bias is missing"),
    ],
)
def test_an_incomplete_discriminator_is_refused_in_a_sentence(tmp_path, missing, message):
    state = rosinality_state(random_discriminator())
    del state[missing]
    torch.save({"g_ema": {}, "d": state}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=message) as error:
        load_discriminator(tmp_path / "model.pt")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "relu"}, "the activation 'relu', which is not known here"),
        ({"conv_clamp": []}, "is not a complete discriminator"),
    ],
)
def test_a_discriminator_built_in_another_way_is_refused(tmp_path, change, message):
    written = discriminator(random_discriminator())
    written.attributes["_modules"]["b16"].attributes["_modules"]["conv1"].attributes.update(change)
    path = write_network(tmp_path / "model.pkl", stylegan2(random_stylegan2()), D=written)
    with pytest.raises(ValueError, match=message):
        load_discriminator(path)


def test_inspect_names_the_discriminator_beside_the_generator(tmp_path, answer):
    network = random_discriminator(architecture="skip", c_dim=3, cmap_dim=7, mapping_layers=2)
    content = {"D": discriminator(network), "training_set_kwargs": {"path": "scenes.zip", "xflip": True}}
    path = write_network(tmp_path / "model.pkl", stylegan2(random_stylegan2()), **content)
    found = answer("inspect", path)
    assert found["kind"] == "generator"
    weights = sum(parameter.numel() for parameter in network.parameters())
    expected = {"architecture": "skip", "size": [16, 16], "weights": weights, "classes": 3}
    assert found["discriminator"] == expected
    assert found["training options"] == {"training_set_kwargs": {"path": "scenes.zip", "xflip": True}}


def test_inspect_says_why_a_discriminator_is_not_read(tmp_path, answer):
    written = discriminator(random_discriminator())
    written.attributes["_modules"]["b16"].attributes["_modules"]["conv1"].attributes["activation"] = "relu"
    path = write_network(tmp_path / "model.pkl", stylegan2(random_stylegan2()), D=written)
    assert "the activation 'relu'" in answer("inspect", path)["discriminator"]
    assert "discriminator" not in answer("inspect", write_network(path, stylegan2(random_stylegan2())))


def test_a_network_that_stands_alone_is_a_generator_or_a_discriminator(tmp_path, answer):
    network, path = random_discriminator(), tmp_path / "alone.pkl"
    path.write_bytes(pickled(stylegan2(random_stylegan2())))
    assert "discriminator" not in answer("inspect", path)
    with pytest.raises(ValueError, match="holds no discriminator that is known here"):
        load_discriminator(path)
    path.write_bytes(pickled(discriminator(network)))
    assert torch.equal(load_discriminator(path)(some_images(network)), network(some_images(network)))
