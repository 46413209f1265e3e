"""Patches become adapters that PEFT loads, and come back as they were."""

import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

from rewrite import Patch, Stack, from_peft, to_peft, wrap
from rewrite.generators.wrapped import WrappedGenerator
from tests.networks import patch_of

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."


class Holdable(nn.Module):
    """Layers that PEFT can hold; the path of one ends like that of another."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.lift = nn.Linear(5, 4 * 64)
        self.block = nn.ModuleDict({"conv": nn.Conv2d(4, 6, 3, stride=2, padding=1)})
        self.conv = nn.Conv2d(6, 3, (3, 1), padding=(1, 0), bias=False)

    def forward(self, z):
        x = F.leaky_relu(self.lift(z)).reshape(len(z), 4, 8, 8)
        return torch.tanh(self.conv(F.leaky_relu(self.block["conv"](x))))


class Unholdable(nn.Module):
    """Layers that PEFT cannot hold."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.up = nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1)

    def forward(self, z):
        x = z.reshape(-1, 4, 1, 1).expand(-1, -1, 4, 4)
        return torch.tanh(self.up(F.leaky_relu(self.dilated(F.leaky_relu(self.grouped(x))))))


def wrapped(module: type[nn.Module], size: int) -> WrappedGenerator:
    return wrap(module().eval().requires_grad_(False), size)


@pytest.fixture
def generator() -> WrappedGenerator:
    return wrapped(Holdable, 5)


def tensors_in(folder) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / WEIGHTS)


@pytest.mark.parametrize("layer", ["lift", "block.conv", "conv"])
def test_a_patch_comes_back_as_it_was(generator, tmp_path, layer):
    patch = replace(patch_of(generator, layer), forecast={"damage": 0.25})
    to_peft(generator, patch, tmp_path / "adapter")
    (found,) = from_peft(generator, tmp_path / "adapter")
    assert torch.equal(found.left, patch.left)
    assert torch.equal(found.right, patch.right)
    assert replace(found, left=patch.left, right=patch.right) == patch


@pytest.mark.parametrize("layer", ["block.conv", "conv"])
def test_a_convolution_by_a_and_then_by_b_is_what_the_patch_changes(generator, tmp_path, layer):
    patch, stage = patch_of(generator, layer), generator.module.get_submodule(layer)
    to_peft(generator, patch, tmp_path / "adapter")
    found, x = tensors_in(tmp_path / "adapter"), torch.randn(2, stage.in_channels, 8, 8)
    low = F.conv2d(x, found[f"{PREFIX}{layer}.lora_A.weight"], stride=stage.stride, padding=stage.padding)
    added, before = F.conv2d(low, found[f"{PREFIX}{layer}.lora_B.weight"]), stage(x)
    with patch.applied(generator):
        torch.testing.assert_close(stage(x) - before, added, rtol=0, atol=1e-5)
    exact = generator.layer(layer).weight_from(patch.left @ patch.right)
    changed = F.conv2d(x, exact, stride=stage.stride, padding=stage.padding)
    torch.testing.assert_close(changed, added, rtol=1e-6, atol=1e-6 * float(changed.abs().max()))


def test_a_linear_layer_adds_b_of_a(generator, tmp_path):
    patch, x = patch_of(generator, "lift"), torch.randn(3, 5)
    to_peft(generator, patch, tmp_path / "adapter")
    found = tensors_in(tmp_path / "adapter")
    added = x @ found[f"{PREFIX}lift.lora_A.weight"].T @ found[f"{PREFIX}lift.lora_B.weight"].T
    torch.testing.assert_close(x @ (patch.left @ patch.right).T, added, rtol=1e-6, atol=1e-6)


def stacked(generator) -> tuple[list[Patch], list[float]]:
    """Two patches on one layer, one on another, at strengths."""
    layers = ["block.conv", "block.conv", "conv", "lift"]
    thin = patch_of(generator, "conv", 2)
    thin = replace(thin, left=thin.left[:, :1].clone(), right=thin.right[:1].clone())
    patches = [patch_of(generator, name, seed) for seed, name in enumerate(layers)]
    return [*patches[:2], thin, patches[3]], [1.0, -0.5, 2.0, 0.25]


def test_patches_of_one_layer_become_one_whose_rank_is_the_sum(generator, tmp_path):
    patches, strengths = stacked(generator)
    to_peft(generator, patches, tmp_path / "adapter", strengths=strengths)
    found = {patch.layer: patch for patch in from_peft(generator, tmp_path / "adapter")}
    assert {layer: patch.rank for layer, patch in found.items()} == {"block.conv": 4, "conv": 1, "lift": 2}
    assert found["block.conv"].rules == (*patches[0].rules, *patches[1].rules)
    with Stack(generator).holding(list(zip(patches, strengths))):
        expected = generator.sample(range(3))
    with Stack(generator).holding([(patch, 1.0) for patch in found.values()]):
        torch.testing.assert_close(generator.sample(range(3)), expected, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_peft_itself_draws_the_edited_images(generator, tmp_path):
    peft = pytest.importorskip("peft")
    patches, strengths = stacked(generator)
    to_peft(generator, patches, tmp_path / "adapter", strengths=strengths)
    with Stack(generator).holding(list(zip(patches, strengths))):
        expected = generator.sample(range(3))
    model, z = peft.PeftModel.from_pretrained(Holdable().eval(), tmp_path / "adapter"), generator.latents(range(3)).z
    with torch.no_grad():
        torch.testing.assert_close(model(z), expected, rtol=0, atol=1e-5)
        model.save_pretrained(tmp_path / "again")
        torch.testing.assert_close(model.merge_and_unload()(z), expected, rtol=0, atol=1e-5)
    with Stack(generator).holding([(patch, 1.0) for patch in from_peft(generator, tmp_path / "again")]):
        torch.testing.assert_close(generator.sample(range(3)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("grouped", "layer grouped is a convolution in 2 groups"),
        ("dilated", "layer dilated is a dilated convolution"),
        ("up", "layer up is a ConvTranspose2d"),
    ],
)
def test_layers_that_peft_cannot_hold_are_refused(tmp_path, layer, message):
    generator = wrapped(Unholdable, 4)
    described = generator.layer(layer)
    narrow = torch.randn(2, described.width // described.groups)
    with pytest.raises(ValueError, match=message):
        to_peft(generator, replace(patch_of(generator, layer), right=narrow), tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []


def test_a_modulated_layer_and_a_file_in_place_of_a_folder_are_refused(files, tmp_path, refusal):
    arguments = ["export", files["model"], files["patch"], "--as", "peft", "--out"]
    assert "PEFT holds nn.Linear and nn.Conv2d" in refusal(*arguments, tmp_path / "adapter")
    assert "is named like a file" in refusal(*arguments, tmp_path / "adapter.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_and_no_patch_at_all_are_refused(generator, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="cannot write into"):
        to_peft(generator, patch_of(generator, "conv"), tmp_path / "file")
    with pytest.raises(ValueError, match="at least one patch"):
        to_peft(generator, [], tmp_path / "adapter")
    with pytest.raises(ValueError, match="finite number, got nan"):
        to_peft(generator, patch_of(generator, "conv"), tmp_path / "adapter", strengths=[float("nan")])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def adapter(generator, tmp_path):
    to_peft(generator, patch_of(generator, "block.conv"), tmp_path / "adapter")
    return tmp_path / "adapter"


def with_config(folder, **changes) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def with_tensors(folder, change, header=None) -> None:
    found = change({name.removeprefix(f"{PREFIX}block.conv."): value for name, value in tensors_in(folder).items()})
    named = {f"{PREFIX}block.conv.{name}": value.contiguous() for name, value in found.items()}
    safetensors.torch.save_file(named, folder / WEIGHTS, header)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "pissa_niter_16"),
        ("init_lora_weights", "olora"),
        ("init_lora_weights", "corda"),
        ("use_dora", True),
        ("arrow_config", {"top_k": 2}),
        ("an_option_of_next_year", "on"),
    ],
)
def test_an_adapter_that_may_be_more_than_two_factors_is_refused(generator, adapter, option, value):
    with_config(adapter, **{option: value})
    with pytest.raises(ValueError, match=f"asks for {option} = .*, which may be more than a change of weights"):
        from_peft(generator, adapter)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", [True, "gaussian", "pissa", "olora", "orthogonal"])
def test_an_adapter_of_peft_is_exact_or_refused_however_it_begins(generator, tmp_path, how):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["lift"], init_lora_weights=how)
    model = peft.get_peft_model(Holdable().eval(), config)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.add_(0.05 * torch.randn(parameter.shape))
    model.save_pretrained(tmp_path / "adapter")
    if how not in (True, "gaussian"):
        with pytest.raises(ValueError, match="asks for init_lora_weights"):
            from_peft(generator, tmp_path / "adapter")
        return
    expected = peft.PeftModel.from_pretrained(Holdable().eval(), tmp_path / "adapter")(generator.latents([0]).z)
    with Stack(generator).holding([(patch, 1.0) for patch in from_peft(generator, tmp_path / "adapter")]):
        torch.testing.assert_close(generator.images(generator.latents([0])), expected, rtol=0, atol=1e-5)


def test_an_adapter_of_another_tool_is_scaled_as_peft_scales_it(generator, adapter):
    """With alpha 6 at rank 2, B counts three times; with rsLoRA, 6 / √2 times."""
    with_tensors(adapter, lambda pair: pair)
    patch = patch_of(generator, "block.conv")
    for changes, factor in (
        ({"lora_alpha": 6}, 3),
        ({"use_rslora": True}, 6 / 2**0.5),
        ({"use_rslora": False, "alpha_pattern": {"conv": 8}}, 4),
        ({"alpha_pattern": {"^block.conv": 2}}, 1),
        ({"alpha_pattern": {"lock\\.conv": 2}}, 3),
    ):
        with_config(adapter, **changes)
        (found,) = from_peft(generator, adapter)
        torch.testing.assert_close(found.left, patch.left * factor)
        assert found.base == patch.base
        assert found.rules == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "is not a LoRA adapter"),
        ({"use_dora": True}, "asks for use_dora"),
        ({"bias": "all"}, "asks for bias"),
        ({"modules_to_save": ["conv"]}, "asks for modules_to_save"),
        ({"lora_alpha": "much"}, "lora_alpha"),
        ({"lora_alpha": float("inf")}, "lora_alpha"),
        ({"alpha_pattern": {"(a+)+": 3}}, "alpha_pattern names no paths"),
        ({"alpha_pattern": [3]}, "alpha_pattern"),
    ],
)
def test_adapters_that_do_something_else_are_refused(generator, adapter, changes, message):
    with_config(adapter, **changes)
    with pytest.raises(ValueError, match=message):
        from_peft(generator, adapter)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pair: {"lora_A.weight": pair["lora_A.weight"]}, "no two factors"),
        (lambda pair: pair | {"lora_B.bias": torch.zeros(6)}, r"holds .*lora_B\.bias, which is not a factor"),
        (lambda pair: pair | {"lora_A.weight": pair["lora_A.weight"][:1]}, "do not fit together"),
        (lambda pair: {name: value[:, :, 0, 0] for name, value in pair.items()}, "kernel"),
        (lambda pair: pair | {"lora_A.weight": pair["lora_A.weight"][:, :2]}, "changes a matrix"),
        (lambda pair: pair | {"lora_A.weight": pair["lora_A.weight"] / 0}, "not finite"),
        (lambda pair: {name: value.long() for name, value in pair.items()}, "not a factor"),
        (lambda pair: {}, "holds no factors"),
    ],
)
def test_factors_that_do_not_fit_are_refused(generator, adapter, change, message):
    with_tensors(adapter, change)
    with pytest.raises(ValueError, match=message):
        from_peft(generator, adapter)


@pytest.mark.parametrize("story", ["[]", "{", '{"model": 3}', '{"layers": {"block.conv": {"rules": [1]}}}', "7"])
def test_a_damaged_header_is_refused(generator, adapter, story):
    with_tensors(adapter, lambda pair: pair, {"rewrite": story})
    with pytest.raises(ValueError, match="what it says of its patches cannot be read"):
        from_peft(generator, adapter)


def test_missing_and_cut_files_other_layers_and_other_weights_are_refused(generator, adapter):
    generator.weight("block.conv").mul_(2)
    with pytest.raises(ValueError, match="this patch was made for weight"):
        from_peft(generator, adapter)
    with pytest.raises(LookupError, match=r"no editable layer at 'block\.conv'"):
        from_peft(wrapped(Unholdable, 4), adapter)
    content = (adapter / WEIGHTS).read_bytes()
    (adapter / WEIGHTS).write_bytes(content[:-3])
    with pytest.raises(ValueError, match="cut short"):
        from_peft(generator, adapter)
    (adapter / WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match=r"adapter_model\.safetensors"):
        from_peft(generator, adapter)
    (adapter / CONFIG).write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is not a valid adapter"):
        from_peft(generator, adapter)
    (adapter / CONFIG).unlink()
    with pytest.raises(FileNotFoundError, match="there is no adapter"):
        from_peft(generator, adapter)
