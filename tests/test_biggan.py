"""BigGAN files of its authors: images beside an independent statement, classes, and edits under their spectral norm."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rewrite import Patch, export, load_generator
from rewrite.checkpoints.biggan import size_of, vector_for
from rewrite.generators.biggan import BigDesign, BigGAN
from rewrite.patch import base_of
from tests.networks import patch_of

DESIGNS = {
    "hier": BigDesign(5, shared=3, chunk=4, hier=True, side=4, channels=(16, 16, 8), attends=(0,)),
    "plain": BigDesign(5, shared=6, chunk=6, hier=False, side=4, channels=(8, 8), attends=()),
}


def state_of(design: BigDesign, *, normed: bool = True) -> dict[str, Tensor]:
    """Tensors by the names of `G_ema.pth`, each weight beside a vector that has nearly its largest direction."""
    torch.manual_seed(0)
    state = {}
    for name, tensor in BigGAN(design).state_dict().items():
        added = 0.1 * torch.randn_like(tensor)
        state[name] = tensor + (added.abs() if name.endswith("stored_var") else added)
        if normed and name.endswith("weight") and not name.startswith("shared"):
            matrix = state[name].flatten(1)
            left = torch.linalg.svd(matrix)[0][:, 0]
            beside = name.removesuffix("weight")
            state[f"{beside}u0"] = F.normalize(left + 0.2 * torch.randn_like(left), dim=0)[None]
            state[f"{beside}sv0"] = torch.ones(1)
    return state


def drawn(state: dict[str, Tensor], design: BigDesign, z: Tensor, classes: list[int]) -> Tensor:
    """What the network of the authors draws in evaluation, image by image and part by part."""

    def weight(name):
        full = state[f"{name}.weight"]
        if f"{name}.u0" not in state:
            return full
        matrix = full.flatten(1)
        right = state[f"{name}.u0"][0] @ matrix
        right = right / right.norm()
        left = matrix @ right
        return full / (left / left.norm() @ matrix @ right)

    def conv(name, x):
        kernel = weight(name)
        return F.conv2d(x, kernel, state.get(f"{name}.bias"), padding=kernel.shape[2] // 2)

    def normed(name, x):
        mean, variance = (state[f"{name}.stored_{each}"][:, None, None] for each in ("mean", "var"))
        return (x - mean) / (variance + 1e-5).sqrt()

    def conditional(name, x, y):
        gain, bias = (weight(f"{name}.{each}") @ y for each in ("gain", "bias"))
        return normed(name, x) * (1 + gain)[:, None, None] + bias[:, None, None]

    def twice(x):
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    def attention(name, x):
        query, key, value = (conv(f"{name}.{each}", x) for each in ("theta", "phi", "g"))
        key, value = (F.max_pool2d(each, 2).flatten(2)[0] for each in (key, value))
        shares = (query.flatten(2)[0].T @ key).softmax(dim=1)
        return x + state[f"{name}.gamma"] * conv(f"{name}.o", (value @ shares.T).reshape(1, -1, *x.shape[2:]))

    def image(numbers, label):
        chunks = numbers.split(design.chunk)
        y = state["shared.weight"][label]
        x = (weight("linear") @ chunks[0] + state["linear.bias"]).reshape(1, -1, 4, 4)
        for block in range(len(design.channels) - 1):
            condition = torch.cat([y, chunks[block + 1]]) if design.hier else y
            h = conv(f"blocks.{block}.0.conv1", twice(conditional(f"blocks.{block}.0.bn1", x, condition).relu()))
            h = conv(f"blocks.{block}.0.conv2", conditional(f"blocks.{block}.0.bn2", h, condition).relu())
            x = h + conv(f"blocks.{block}.0.conv_sc", twice(x))
            x = attention(f"blocks.{block}.1", x) if block in design.attends else x
        gain, bias = (state[f"output_layer.0.{each}"][:, None, None] for each in ("gain", "bias"))
        return conv("output_layer.2", (normed("output_layer.0", x) * gain + bias).relu()).tanh()

    return torch.cat([image(numbers, label) for numbers, label in zip(z, classes, strict=True)])


@pytest.fixture(params=DESIGNS)
def design(request):
    return DESIGNS[request.param]


@pytest.mark.parametrize("normed", [True, False])
def test_a_biggan_draws_its_images_of_every_class(tmp_path, design, normed):
    state = state_of(design, normed=normed)
    torch.save(state, tmp_path / "G_ema.pth")
    generator = load_generator(tmp_path / "G_ema.pth", label="mixed,2:0")
    assert (generator.classes, generator.z_dim) == (5, design.z_dim)
    z = generator.latents([1, 2, 8]).z
    expected = drawn(state, design, z, [1, 0, 3])
    torch.testing.assert_close(generator.sample([1, 2, 8]), expected, rtol=0, atol=1e-5)
    assert expected.std() > 0.05
    generator.truncation = 0.5
    torch.testing.assert_close(generator.sample([1]), drawn(state, design, z[:1] / 2, [1]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("layer", ["blocks.0.0.conv1", "blocks.0.0.conv_sc", "linear", "output_layer.2"])
@pytest.mark.parametrize("container", ["same", "state-dict"])
def test_the_authors_code_draws_an_edit_from_the_exported_file(tmp_path, design, layer, container):
    path, out = tmp_path / "G_ema.pth", tmp_path / "edited.pth"
    torch.save(state_of(design), path)
    generator = load_generator(path)
    # Of the two directions, one makes the largest singular value larger.
    strength = -0.05 if layer == "linear" else 0.05
    patch, z = patch_of(generator, layer), generator.latents([1, 2]).z
    with patch.applied(generator, strength):
        expected = generator.sample([1, 2])
    export(generator, patch, out, strengths=[strength], container=container)
    state = torch.load(out, weights_only=True)
    changed = {name for name, tensor in state_of(design).items() if not torch.equal(tensor, state[name])}
    assert changed == {f"{layer}.weight", f"{layer}.u0"}
    torch.testing.assert_close(drawn(state, design, z, [0, 0]), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(load_generator(out).sample([1, 2]), expected, rtol=0, atol=1e-5)


def test_weights_that_the_norm_does_not_allow_are_written_plain_or_refused(tmp_path, design):
    path, out = tmp_path / "G_ema.pth", tmp_path / "edited.pth"
    torch.save({"G": state_of(design), "epoch": 3}, path)
    generator = load_generator(path)
    layer, weight = generator.layer("blocks.0.0.conv1"), generator.weight("blocks.0.0.conv1")
    about = {"base": base_of(weight), "model": generator.fingerprint}
    patch = Patch.from_change(layer, -0.5 * layer.matrix(weight), **about)
    with pytest.raises(
        ValueError, match=r"cannot hold this edit of blocks\.0\.0\.conv1\.weight: .*export --as state-dict"
    ):
        export(generator, patch, out)
    export(generator, patch, out, container="state-dict")
    with patch.applied(generator):
        expected = generator.sample([1, 2])
    state = torch.load(out, weights_only=True)["G"]
    assert not any(name.endswith(("u0", "sv0")) for name in state)
    torch.testing.assert_close(drawn(state, design, generator.latents([1, 2]).z, [0, 0]), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(load_generator(out).sample([1, 2]), expected, rtol=0, atol=1e-5)


def test_a_vector_is_found_where_singular_values_lie_on_both_sides_of_one():
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(6, 4, 3, 3).flatten(1), full_matrices=False)
    for sizes in ([1.3, 1.1, 0.9, 0.5, 0.1, 0.0], [1.0, 0.9, 0.9, 0.9, 0.2, 0.1], [7.0, 6.0, 5.0, 4.0, 3.0, 0.01]):
        weight = (left * torch.tensor(sizes) @ right).reshape(6, 4, 3, 3)
        assert size_of(weight, vector_for(weight, "")[None]) == pytest.approx(1, abs=1e-4)
    for factor, said in ((0.5, "all be less than 1"), (20.0, "all be more than 1")):
        weight = (left * torch.tensor([1.5, 1.1, 0.9, 0.5, 0.3, 0.2]) * factor @ right).reshape(6, 4, 3, 3)
        with pytest.raises(ValueError, match=said):
            vector_for(weight, "this file cannot hold it")


def test_a_biggan_with_parts_that_are_not_known_is_refused(tmp_path):
    state = state_of(DESIGNS["plain"])
    torch.save(state | {"blocks.0.0.conv3.weight": torch.randn(2, 2, 3, 3)}, tmp_path / "deep.pth")
    with pytest.raises(ValueError, match=r"with blocks\.0\.0\.conv3\.weight, which is not read here"):
        load_generator(tmp_path / "deep.pth")
