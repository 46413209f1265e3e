"""The decoder of diffusers' `AutoencoderKL` (Rombach et al., CVPR 2022) in plain PyTorch, by diffusers' names.

Latents go through a 1x1 convolution (`post_quant_conv`), residual blocks with attention at the lowest side, and then
residual blocks with upsampling to the nearest neighbour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-6


@dataclass(frozen=True)
class KLDesign:
    """The architecture of a decoder.

    Attributes:
        latents: Number of channels of a latent.
        channels: Number of channels of each level, from the lowest side to the highest.
        blocks: Number of residual blocks of each level.
        groups: Number of groups of each normalisation.
        attention: Whether the middle attends.
        first: Whether a 1x1 convolution comes first.
    """

    latents: int
    channels: tuple[int, ...]
    blocks: int
    groups: int = 32
    attention: bool = True
    first: bool = True

    def norm(self, channels: int) -> nn.GroupNorm:
        """A normalisation of so many channels."""
        return nn.GroupNorm(self.groups, channels, eps=EPSILON)


class Residual(nn.Module):
    """Group normalisation, SiLU and convolution, twice; the shortcut is added."""

    def __init__(self, design: KLDesign, inputs: int, outputs: int):
        super().__init__()
        self.norm1, self.norm2 = design.norm(inputs), design.norm(outputs)
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    """Every position attends to all, with one head, over normalised values; the input is added."""

    def __init__(self, design: KLDesign, channels: int):
        super().__init__()
        self.group_norm = design.norm(channels)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        positions = self.group_norm(x.flatten(2)).transpose(1, 2)
        found = F.scaled_dot_product_attention(self.to_q(positions), self.to_k(positions), self.to_v(positions))
        return x + self.to_out[0](found).transpose(1, 2).reshape(x.shape)


class Middle(nn.Module):
    """Two residual blocks, and attention between them."""

    def __init__(self, design: KLDesign):
        super().__init__()
        channels = design.channels[0]
        self.resnets = nn.ModuleList([Residual(design, channels, channels) for _ in range(2)])
        self.attentions = nn.ModuleList([Attention(design, channels)] if design.attention else [])

    def forward(self, x: Tensor) -> Tensor:
        return run((self.resnets[0], *self.attentions, self.resnets[1]), x)


class Doubling(nn.Module):
    """Twice the side, then a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Level(nn.Module):
    """Residual blocks of one side, and what doubles it."""

    def __init__(self, design: KLDesign, inputs: int, outputs: int, *, up: bool):
        super().__init__()
        sizes = [inputs, *[outputs] * (design.blocks - 1)]
        self.resnets = nn.ModuleList([Residual(design, size, outputs) for size in sizes])
        self.upsamplers = nn.ModuleList([Doubling(outputs)] if up else [])

    def forward(self, x: Tensor) -> Tensor:
        return run((*self.resnets, *self.upsamplers), x)


class Decoder(nn.Module):
    """From what `post_quant_conv` gives to images."""

    def __init__(self, design: KLDesign):
        super().__init__()
        channels, last = design.channels, len(design.channels) - 1
        self.conv_in = nn.Conv2d(design.latents, channels[0], 3, padding=1)
        self.mid_block = Middle(design)
        self.up_blocks = nn.ModuleList(
            [
                Level(design, before, after, up=number < last)
                for number, (before, after) in enumerate(zip((channels[0], *channels), channels, strict=False))
            ]
        )
        self.conv_norm_out = design.norm(channels[-1])
        self.conv_out = nn.Conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = run((self.conv_in, self.mid_block, *self.up_blocks), x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class KLDecoder(nn.Module):
    """From latents (images, channels, height, width) to images (images, 3, …) in [-1, 1], up to what overshoots.

    Args:
        design: Its architecture.
    """

    def __init__(self, design: KLDesign):
        super().__init__()
        self.post_quant_conv = nn.Conv2d(design.latents, design.latents, 1) if design.first else nn.Identity()
        self.decoder = Decoder(design)

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z))


def run(modules: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Run modules one after the other."""
    for module in modules:
        x = module(x)
    return x
