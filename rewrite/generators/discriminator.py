"""The discriminator of StyleGAN2 (Karras et al., CVPR 2020) in plain PyTorch, in all its architectures.

Names and conventions are those of NVIDIA's PyTorch release. Classes are judged by projection (Miyato and Koyama, ICLR
2018), as in StyleGAN2-ADA.
"""

import math
from collections import abc
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rewrite.generators.filters import Blur
from rewrite.generators.mapping import GAIN, LEAK, Linear, Mapping, activate, normal
from rewrite.generators.stylegan2_design import ARCHITECTURES
from rewrite.storage.quoting import quoted

SMALLEST = 4


@dataclass(frozen=True)
class DiscriminatorDesign:
    """The architecture of a discriminator.

    Attributes:
        channels: Number of channels at each side, from that of the images down to 4.
        architecture: `skip` reads the image at every side, `orig` and `resnet` at the first alone.
        colours: Number of channels of an image.
        c_dim: Number of classes; 0 for none.
        cmap_dim: Length of a class's direction; 0 without classes.
        mapping_layers, mapping_rate: Linear layers from a class to its direction, and their learning-rate multiplier.
        group: Number of images that are compared with one another; None for the whole batch.
        spreads: Number of channels that say how much the images of a group differ; 0 for none.
        clamp: Limit of what a layer writes; None for none.
    """

    channels: abc.Mapping[int, int]
    architecture: str = "resnet"
    colours: int = 3
    c_dim: int = 0
    cmap_dim: int = 0
    mapping_layers: int = 8
    mapping_rate: float = 0.01
    group: int | None = 4
    spreads: int = 1
    clamp: float | None = None

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"the architecture is one of {', '.join(ARCHITECTURES)}, got {quoted(self.architecture)}")
        sides = sorted(self.channels)
        if not 2 <= len(sides) <= 11 or sides != [SMALLEST * 2**i for i in range(len(sides))]:
            raise ValueError(f"sides halve down to {SMALLEST}, from at most 4096, got {quoted(sides)}")
        if self.mapping_layers > 32:
            raise ValueError(f"a mapping has at most 32 layers, got {self.mapping_layers}")
        if min(self.colours, *self.channels.values()) < 1 or self.group == 0:
            raise ValueError("a number of channels or of images is at least 1, got 0")
        if self.spreads < 0 or (self.spreads and self.channels[SMALLEST] % self.spreads):
            raise ValueError(f"{self.spreads} spreads are of as many channels each, got {self.channels[SMALLEST]}")
        if bool(self.c_dim) != bool(self.cmap_dim):
            raise ValueError("classes have a direction of some length, and nothing else has")

    @property
    def side(self) -> int:
        """Side of an image."""
        return max(self.channels)


class Convolution(nn.Module):
    """A convolution with bias and leaky ReLU; with `down`, it halves the side.

    Args:
        inputs, outputs: Numbers of channels.
        kernel: Side of the kernel.
        down: Whether it halves the side.
        linear: Whether it has neither bias nor activation.
        clamp: Outputs beyond ± this are cut off; None for no limit.
        scale: The output is scaled by this.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        down: bool = False,
        linear: bool = False,
        clamp: float | None = None,
        scale: float = 1.0,
    ):
        super().__init__()
        self.kernel, self.down, self.clamp, self.scale = kernel, down, clamp, scale
        self.weight = normal(outputs, inputs, kernel, kernel)
        self.bias = None if linear else nn.Parameter(torch.zeros(outputs))
        self.gain = 1 / math.sqrt(inputs * kernel**2)
        if down:
            self.blur = Blur()

    def forward(self, x: Tensor) -> Tensor:
        weight, half = self.weight * self.gain, self.kernel // 2
        y = F.conv2d(self.blur(x, half + 1), weight, stride=2) if self.down else F.conv2d(x, weight, padding=half)
        if self.bias is None:
            return y * self.scale
        y = F.leaky_relu(y + self.bias[:, None, None], LEAK) * (GAIN * self.scale)
        return y if self.clamp is None else y.clamp(-self.clamp * self.scale, self.clamp * self.scale)


class Block(nn.Module):
    """The layers of one side, down to half of it."""

    def __init__(self, design: DiscriminatorDesign, side: int):
        super().__init__()
        inputs, outputs = design.channels[side], design.channels[side // 2]
        residual = design.architecture == "resnet"
        scale = math.sqrt(0.5) if residual else 1.0
        if side == design.side or design.architecture == "skip":
            self.fromrgb = Convolution(design.colours, inputs, 1, clamp=design.clamp)
        self.conv0 = Convolution(inputs, inputs, 3, clamp=design.clamp)
        self.conv1 = Convolution(inputs, outputs, 3, down=True, clamp=design.clamp, scale=scale)
        if residual:
            self.skip = Convolution(inputs, outputs, 1, down=True, linear=True, scale=scale)

    def forward(self, x: Tensor | None, image: Tensor) -> Tensor:
        if hasattr(self, "fromrgb"):
            read = self.fromrgb(image)
            x = read if x is None else x + read
        y = self.conv1(self.conv0(x))
        return y + self.skip(x) if hasattr(self, "skip") else y


class Epilogue(nn.Module):
    """From the last map to the features and their score."""

    def __init__(self, design: DiscriminatorDesign):
        super().__init__()
        wide = design.channels[SMALLEST]
        self.group, self.spreads = design.group, design.spreads
        if design.architecture == "skip":
            self.fromrgb = Convolution(design.colours, wide, 1)
        self.conv = Convolution(wide + design.spreads, wide, 3, clamp=design.clamp)
        self.fc = Linear(wide * SMALLEST**2, wide)
        self.out = Linear(wide, design.cmap_dim or 1)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        if hasattr(self, "fromrgb"):
            x = x + self.fromrgb(image)
        if self.spreads:
            x = torch.cat([x, self.spread(x)], dim=1)
        return activate(self.fc(self.conv(x).flatten(1)))

    def spread(self, x: Tensor) -> Tensor:
        """How much the images of a group differ, as channels of one value for each image (Karras et al., ICLR 2018)."""
        images, _, height, width = x.shape
        group = min(self.group or images, images)
        if images % group:
            raise ValueError(f"the discriminator compares {group} images with one another, got {images}")
        # Image i belongs to group i modulo the number of groups.
        apart = x.unflatten(0, (group, -1)).var(dim=0, correction=0).add(1e-8).sqrt()
        found = apart.unflatten(1, (self.spreads, -1)).mean(dim=(2, 3, 4))
        return found.repeat(group, 1)[:, :, None, None].expand(-1, -1, height, width)


class Discriminator(nn.Module):
    """A StyleGAN2 discriminator of any side and width: images in [-1, 1] to one logit each.

    The logit of an image depends on the other images of its group, as it does in training. With `b4.group = 1`, each
    image is judged alone.
    """

    def __init__(self, design: DiscriminatorDesign):
        super().__init__()
        self.design = design
        for side in sorted(design.channels, reverse=True)[:-1]:
            self.add_module(f"b{side}", Block(design, side))
        if design.c_dim:
            embedded = {"c_dim": design.c_dim, "rate": design.mapping_rate}
            self.mapping = Mapping(0, design.cmap_dim, design.mapping_layers, **embedded)
        self.b4 = Epilogue(design)

    def features(self, images: Float[Tensor, "images colours side side"]) -> Float[Tensor, "images features"]:
        """What the last layer reads.

        Raises:
            ValueError: The images are not of its size, or do not fill whole groups.
        """
        expected = (self.design.colours, self.design.side, self.design.side)
        if tuple(images.shape[1:]) != expected:
            raise ValueError(f"the discriminator reads images of {expected}, got {tuple(images.shape[1:])}")
        x, image = None, images
        for side in sorted(self.design.channels, reverse=True)[:-1]:
            block = self.get_submodule(f"b{side}")
            assert isinstance(block, Block)
            x = block(x, image)
            if self.design.architecture == "skip":
                image = block.conv1.blur(image)[..., ::2, ::2]
        return self.b4(x, image)

    def forward(
        self,
        images: Float[Tensor, "images colours side side"],
        classes: Float[Tensor, "images classes"] | None = None,
    ) -> Float[Tensor, " images"]:
        """The logit of each image: the higher, the more it looks like the training set.

        Args:
            images: In [-1, 1].
            classes: One-hot rows, for a network of several; zeros if left out.

        Raises:
            ValueError: The images are not of its size, or do not fill whole groups.
        """
        judged = self.b4.out(self.features(images))
        if not self.design.c_dim:
            return judged[:, 0]
        direction = self.mapping(images.new_zeros(len(images), 0), classes)
        return (judged * direction).sum(dim=1) / math.sqrt(self.design.cmap_dim)
