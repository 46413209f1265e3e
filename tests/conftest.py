"""Small random networks that every test file can use."""

import pytest
import torch

from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_layers import StyleGAN2Generator


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


@pytest.fixture
def tiny_generator() -> StyleGAN2Generator:
    """A new random generator for each test, so that a test may change its weights."""
    return StyleGAN2Generator(random_stylegan2())
