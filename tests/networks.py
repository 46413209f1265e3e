"""Small random networks that every test file can use, and rules and patches of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from rewrite import Classifier, Latent, Mask, Patch, Region, Rule, Settings, load_generator, measure, solve
from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.discriminator import Discriminator, DiscriminatorDesign
from rewrite.generators.fingerprint import hash_of
from rewrite.generators.latents import Latents
from rewrite.generators.layers import Layer
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan3 import Design3, StyleGAN3
from rewrite.generators.stylegan3_layers import StyleGAN3Generator

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


def patch_of(generator: Generator | Classifier, layer: str, seed: int = 0, ruled: bool = True) -> Patch:
    """A random patch of two directions, perhaps with a rule that has a name alone."""
    described, drawn = generator.layer(layer), torch.Generator().manual_seed(seed)
    return Patch(
        layer=layer,
        left=0.3 * torch.randn(described.outputs, 2, generator=drawn),
        right=torch.randn(2, described.width, generator=drawn),
        base=hash_of({"weight": generator.weight(layer)}),
        model=generator.fingerprint,
        rules=(f'{{"name": "rule {seed}"}}',) if ruled else (),
    )
