"""BigGAN-deep (Brock et al., ICLR 2019) in plain PyTorch, by the names of its authors' code, with plain weights.

https://github.com/ajbrock/BigGAN-PyTorch: residual blocks with a bottleneck, whose shortcut drops channels in place of
a convolution; all of z and the class go to every normalisation. Hugging Face's port of the published networks
(pytorch-pretrained-BigGAN) is the same, but for the order of some numbers and statistics for each truncation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewrite.generators.biggan import Attention
from rewrite.generators.classes import classes_of
from rewrite.generators.latents import Latents
from rewrite.generators.wrapped import WrappedGenerator

# Channels of a block for each within its bottleneck.
RATIO = 4


@dataclass(frozen=True)
class DeepDesign:
    """The architecture of a BigGAN-deep.

    Attributes:
        classes: Number of classes.
        z_dim: Length of z.
        shared: Length of what stands for a class.
        side: Side of the first map.
        channels: Numbers of channels before the first block and after each.
        doubles: The blocks that double the side.
        attends: The blocks that attention follows.
        colours: Number of channels of the last convolution, of which the first three are the image.
        stats: For how many truncations from 0 to 1 the statistics of normalisation are kept.
        epsilon: What is added to a variance.
        class_first: Whether the class comes before z in what every block reads.
        channels_last: Whether the first map has its channels last, and classes are the columns of their matrix.
    """

    classes: int
    z_dim: int
    shared: int
    side: int
    channels: tuple[int, ...]
    doubles: tuple[int, ...]
    attends: tuple[int, ...] = ()
    colours: int = 3
    stats: int = 1
    epsilon: float = 1e-5
    class_first: bool = True
    channels_last: bool = False

    @property
    def condition(self) -> int:
        """Length of what every block reads."""
        return self.z_dim + self.shared


class Classes(nn.Module):
    """What stands for each class: rows of a matrix, or columns."""

    def __init__(self, design: DeepDesign):
        super().__init__()
        self.columns, shape = design.channels_last, (design.classes, design.shared)
        self.weight = nn.Parameter(torch.zeros(shape[::-1] if self.columns else shape))

    def forward(self, classes: Tensor) -> Tensor:
        return (self.weight.T if self.columns else self.weight)[classes]


class Norm(nn.Module):
    """Batch normalisation by kept statistics; the gain and bias of each channel are numbers, or read the condition."""

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, channels: int, design: DeepDesign, *, conditional: bool = True):
        super().__init__()
        self.epsilon = design.epsilon
        self.register_buffer("stored_mean", torch.zeros(design.stats, channels))
        self.register_buffer("stored_var", torch.ones(design.stats, channels))
        if conditional:
            self.gain = nn.Linear(design.condition, channels, bias=False)
            self.bias = nn.Linear(design.condition, channels, bias=False)
        else:
            self.gain, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, y: Tensor, truncation: float) -> Tensor:
        x = F.batch_norm(x, at(self.stored_mean, truncation), at(self.stored_var, truncation), eps=self.epsilon)
        gain, bias = self.gain, self.bias
        if isinstance(gain, nn.Linear) and isinstance(bias, nn.Linear):
            return x * (1 + gain(y))[:, :, None, None] + bias(y)[:, :, None, None]
        assert isinstance(gain, Tensor) and isinstance(bias, Tensor)  # noqa: PT018
        return x * gain[:, None, None] + bias[:, None, None]


class Block(nn.Module):
    """Convolutions of kernels 1, 3, 3, 1 after normalisation and ReLU; the shortcut drops channels."""

    def __init__(self, inputs: int, outputs: int, design: DeepDesign, *, doubles: bool):
        super().__init__()
        hidden = inputs // RATIO
        self.outputs, self.doubles = outputs, doubles
        self.conv1, self.conv4 = nn.Conv2d(inputs, hidden, 1), nn.Conv2d(hidden, outputs, 1)
        self.conv2, self.conv3 = (nn.Conv2d(hidden, hidden, 3, padding=1) for _ in range(2))
        self.bn1 = Norm(inputs, design)
        self.bn2, self.bn3, self.bn4 = (Norm(hidden, design) for _ in range(3))

    def forward(self, x: Tensor, y: Tensor, truncation: float) -> Tensor:
        h = self.conv1(F.relu(self.bn1(x, y, truncation)))
        h = self.conv2(self._sized(F.relu(self.bn2(h, y, truncation))))
        h = self.conv3(F.relu(self.bn3(h, y, truncation)))
        h = self.conv4(F.relu(self.bn4(h, y, truncation)))
        return h + self._sized(x[:, : self.outputs])

    def _sized(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2) if self.doubles else x


class BigGANDeep(nn.Module):
    """From z (images, length) and classes (images) to images (images, 3, side, side) in [-1, 1].

    Args:
        design: Its architecture.
    """

    def __init__(self, design: DeepDesign):
        super().__init__()
        self.design, channels = design, design.channels
        self.shared = Classes(design)
        self.linear = nn.Linear(design.condition, channels[0] * design.side**2)
        parts: list[list[nn.Module]] = [
            [Block(inputs, outputs, design, doubles=number in design.doubles)]
            for number, (inputs, outputs) in enumerate(pairwise(channels))
        ]
        for number in design.attends:
            parts[number].append(Attention(channels[number + 1]))
        self.blocks = nn.ModuleList([nn.ModuleList(each) for each in parts])
        last = nn.Conv2d(channels[-1], design.colours, 3, padding=1)
        self.output_layer = nn.ModuleList([Norm(channels[-1], design, conditional=False), nn.ReLU(), last])

    def forward(self, z: Tensor, classes: Tensor, truncation: float = 1.0) -> Tensor:
        label = self.shared(classes)
        y = torch.cat([label, z] if self.design.class_first else [z, label], dim=1)
        x = self._first(self.linear(y))
        for parts in self.blocks.children():
            block, *attention = parts.children()
            x = block(x, y, truncation)
            for each in attention:
                x = each(x, y)
        norm, relu, last = self.output_layer
        return torch.tanh(last(relu(norm(x, y, truncation)))[:, :3])

    def _first(self, numbers: Tensor) -> Tensor:
        sides = (self.design.side, self.design.side)
        if self.design.channels_last:
            return numbers.unflatten(1, (*sides, -1)).permute(0, 3, 1, 2)
        return numbers.unflatten(1, (-1, *sides))


def at(rows: Tensor, truncation: float) -> Tensor:
    """The statistics for a truncation.

    Between two rows, Hugging Face's code gives the near one the share of the far one, and so do we: images are alike.
    """
    share, row = math.modf(min(truncation, 1.0) / (1.0 / (len(rows) - 1))) if len(rows) > 1 else (0.0, 0.0)
    near = rows[int(row)]
    return near * share + rows[int(row) + 1] * (1 - share) if share else near


class DeepGenerator(WrappedGenerator):
    """A BigGAN-deep of classes; `truncation` is a factor on z, and chooses the statistics where there are several."""

    module: BigGANDeep

    def __init__(self, network: BigGANDeep, assumed: Sequence[str] = ()):
        self.classes = network.design.classes
        super().__init__(network, network.design.z_dim, None, None)
        self.assumed = tuple(assumed)

    def _called(self, latents: Latents) -> Tensor:
        classes = torch.tensor(classes_of(self.label, latents.seeds, self.classes), device=latents.z.device)
        return self.module(latents.z * self.truncation, classes, self.truncation)
