"""The generator as the released code of 2020 has it: the same weights, in the modules of a checkout."""

import io
import math
from base64 import b64encode
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from rewrite import Generator, Mask
from rewrite.generators.stylegan2_layers import StyleGAN2Generator

# Greatest difference of a pixel between the two networks: they round otherwise.
CLOSE = 1e-3


def number_of(generator: Generator, layer: str) -> int:
    """The number that the released code has for a layer: those of 4x4 to the last one, from 2 on."""
    sides = sorted(generator.network.design.channels)
    names = ["b4.conv1", *(f"b{side}.conv{i}" for side in sides[1:] for i in (0, 1))]
    return names.index(layer) + 2


def network_of(generator: Generator, models: Any) -> nn.Module:
    """The network in the modules of a checkout.

    Raises:
        ValueError: The released code has no modules for this generator.
    """
    if not isinstance(generator, StyleGAN2Generator) or generator.network.design.architecture != "skip":
        raise ValueError("the released code of 2020 has StyleGAN2 with skip connections, and this generator is another")
    design = generator.network.design
    size = max(design.channels)
    made = models.SeqStyleGAN2(size, style_dim=design.w_dim, n_mlp=design.mapping_layers, mconv="seq")
    for name, tensor in _state_of(generator).items():
        owner, _, leaf = name.rpartition(".")
        made.get_submodule(owner).register_parameter(leaf, nn.Parameter(tensor.clone()))
    for module in made.modules():
        _fit(module)
    return made.eval()


def _fit(module: nn.Module) -> None:
    """What a module of the checkout keeps of the shape of its weights: the widths there are fixed."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or not hasattr(module, "scale"):
        return
    if weight.ndim == 5:
        module.out_channel, module.in_channel, side = weight.shape[1:4]
        module.scale = 1 / math.sqrt(module.in_channel * side**2)
    elif weight.ndim == 2:
        module.out_features, module.in_features = weight.shape
        module.scale = module.lr_mul / math.sqrt(module.in_features)


def _state_of(generator: StyleGAN2Generator) -> dict[str, Tensor]:
    """The weights by the names of the checkout."""
    design, ours, found = generator.network.design, generator.network.state_dict(), dict[str, Tensor]()
    sides = sorted(design.channels)
    for i in range(design.mapping_layers):
        for part in ("weight", "bias"):
            found[f"style.{i + 1}.{part}"] = ours[f"mapping.fc{i}.{part}"]
    found["input.input"] = ours["synthesis.b4.const"][None]

    def modulated(mine: str, name: str) -> None:
        found[f"{name}.modulation.weight"] = ours[f"synthesis.{mine}.affine.weight"]
        found[f"{name}.modulation.bias"] = ours[f"synthesis.{mine}.affine.bias"]

    for number, mine in enumerate(["b4.conv1", *(f"b{side}.conv{i}" for side in sides[1:] for i in (0, 1))], 2):
        name, weight = f"layer{number}.{'sconv' if number > 2 else 'conv'}", ours[f"synthesis.{mine}.weight"]
        modulated(mine, f"{name}.mconv")
        # There every stored weight is scaled by what its width says.
        scale = 1 if design.conv_gain else math.sqrt(weight[0].numel())
        found[f"{name}.mconv.dconv.weight"] = weight[None] * scale
        found[f"{name}.noise.weight"] = ours[f"synthesis.{mine}.noise_strength"].reshape(1)
        found[f"{name}.activate.bias"] = ours[f"synthesis.{mine}.bias"]
    for number, side in enumerate(sides, 1):
        mine, name = f"b{side}.torgb", f"to_rgb{number}.rgb"
        modulated(mine, f"{name}.conv")
        found[f"{name}.conv.weight"] = ours[f"synthesis.{mine}.weight"][None]
        found[f"{name}.bias"] = ours[f"synthesis.{mine}.bias"].reshape(1, -1, 1, 1)
    return found


@torch.no_grad()
def check_same(generator: Generator, made: nn.Module) -> None:
    """Compare an image of both without noise, which the released code draws in its own way.

    Raises:
        ValueError: They differ.
    """
    strengths = [each for name, each in made.named_parameters() if name.endswith("noise.weight")]
    before, noise = [each.clone() for each in strengths], generator.noise
    try:
        generator.noise = "none"
        for each in strengths:
            each.zero_()
        expected = generator.images(generator.latents([0]))
        off = float((made(z_of(generator, [0])) - expected).abs().max())
    finally:
        generator.noise = noise
        for each, value in zip(strengths, before, strict=True):
            each.copy_(value)
    if not off < CLOSE:
        raise ValueError(f"the released code draws another image with these weights: a pixel differs by {off:.2g}")


def z_of(generator: Generator, seeds: list[int]) -> Tensor:
    """The latents of some seeds, before the mapping."""
    return generator.latents(seeds).z


class Latents:
    """Latents by seed, as the released code asks a data set for them; statistics read the first ones.

    Args:
        generator: Whose they are.
        count: How many statistics read.
    """

    def __init__(self, generator: Generator, count: int):
        self.generator, self.count = generator, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, seed: int) -> tuple[Tensor]:
        return (z_of(self.generator, [seed])[0],)


def mask_url(mask: Mask) -> str:
    """A mask as the released editor saves it."""
    written = io.BytesIO()
    Image.fromarray(mask.array()).convert("RGB").save(written, "PNG")
    return "data:image/png;base64," + b64encode(written.getvalue()).decode()
