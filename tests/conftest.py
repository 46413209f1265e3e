"""Small random networks that every test file can use."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rewrite.generators.contract import Cut, Generator, Latents
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.layers import Layer


def random_stylegan2(seed: int = 0) -> StyleGAN2:
    """A StyleGAN2 of 16x16 whose noise and biases do something."""
    torch.manual_seed(seed)
    network = StyleGAN2(z_dim=8, w_dim=8, mapping_layers=2, channels={4: 6, 8: 5, 16: 4})
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.3)
            elif name.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
        network.mapping.w_avg.copy_(0.1 * torch.randn(8))
    return network


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
            "conv": Layer("conv", "conv.weight", "convolution", 3, 4, (6, 6), **plain),
            "grouped": Layer("grouped", "grouped.weight", "convolution", 4, 4, (6, 6), groups=2, **plain),
            "up": Layer("up", "up.weight", "transposed", 4, 3, (6, 6), inputs_first=True, **doubling),
        }

    def images(self, latents: Latents) -> torch.Tensor:
        return self.rerun("conv", self.cut("conv", latents))

    def cut(self, layer: str, latents: Latents) -> Cut:
        self.layer(layer)
        return Cut(None, torch.cat([self._features(layer, z) for z in latents.z.double()]))

    def resume(self, layer: str, cut: Cut, written: torch.Tensor, demodulation: torch.Tensor | None) -> torch.Tensor:
        x, later = self.finish(layer, cut, written, demodulation), list(self.layers)
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


@pytest.fixture
def tiny_generator() -> StyleGAN2Generator:
    """A new random generator for each test, so that a test may change its weights."""
    return StyleGAN2Generator(random_stylegan2())


@pytest.fixture
def plain_generator() -> PlainGenerator:
    """The same for layers without modulation."""
    return PlainGenerator()
