"""The architecture of the built-in classifiers: convolutions, a mean over positions, one linear layer.

Instead of the mean, linear layers may read every position, as in LeNet (LeCun et al., Proc. IEEE 1998).

It is a plain `nn.Sequential`, so that every stage has a name and the network can be cut anywhere.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rewrite.storage.quoting import quoted

WIDTHS = (32, 48, 64, 96, 128)
# The side is halved after these convolutions.
POOLED_AFTER = (1, 2, 4)
MOST_CLASSES, MOST_CHANNELS, MOST_READ = 2**16, 2**14, 2**18


@dataclass(frozen=True)
class SmallDesign:
    """The shape of a `SmallCNN`.

    Attributes:
        classes: The name of each class.
        widths: Number of units of each convolution.
        norm: Whether batch normalisation follows each convolution.
        dropout: Share of the last units that training switches off at random.
        size: Height and width of a picture.
        hidden: Number of units of each linear layer before the last. With any, they read every position of the last
            convolution; without, the mean over positions is read.
    """

    classes: tuple[str, ...]
    widths: tuple[int, ...] = WIDTHS
    norm: bool = False
    dropout: float = 0.0
    size: tuple[int, int] = (64, 64)
    hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 2 <= len(set(self.classes)) == len(self.classes) <= MOST_CLASSES:
            raise ValueError(f"a classifier has at least two classes of different names, got {quoted(self.classes)}")
        if not 1 <= len(self.widths) <= 32 or not all(1 <= width <= MOST_CHANNELS for width in self.widths):
            raise ValueError(f"a classifier has convolutions of 1 to {MOST_CHANNELS} units, got {quoted(self.widths)}")
        if len(self.hidden) > 32 or not all(1 <= width <= MOST_CHANNELS for width in self.hidden):
            raise ValueError(f"linear layers have 1 to {MOST_CHANNELS} units, got {quoted(self.hidden)}")
        if self.hidden and not (self.positions and self.positions * self.widths[-1] <= MOST_READ):
            raise ValueError(f"linear layers read 1 to {MOST_READ} numbers, got pictures of {quoted(self.size)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share from 0 to 1, got {quoted(self.dropout)}")

    @property
    def positions(self) -> int:
        """How many positions the map of the last convolution has."""
        halved = 2 ** sum(number <= len(self.widths) for number in POOLED_AFTER)
        return (self.size[0] // halved) * (self.size[1] // halved)


class SmallCNN(nn.Sequential):
    """Pictures (n, 3, h, w) in [-1, 1] to logits (n, classes)."""

    def __init__(self, design: SmallDesign):
        super().__init__()
        self.design = design
        inputs = 3
        for number, width in enumerate(design.widths, start=1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, width, 3, padding=1, bias=not design.norm))
            if design.norm:
                self.add_module(f"norm{number}", nn.BatchNorm2d(width))
            self.add_module(f"relu{number}", nn.ReLU())
            if number in POOLED_AFTER:
                self.add_module(f"pool{number}", nn.MaxPool2d(2))
            inputs = width
        if design.hidden:
            inputs *= design.positions
        else:
            self.add_module("mean", nn.AdaptiveAvgPool2d(1))
        self.add_module("flatten", nn.Flatten())
        for number, width in enumerate(design.hidden, start=1):
            self.add_module(f"fc{number}", nn.Linear(inputs, width))
            self.add_module(f"relu{len(design.widths) + number}", nn.ReLU())
            inputs = width
        if design.dropout:
            self.add_module("dropout", nn.Dropout(design.dropout))
        self.add_module("fc", nn.Linear(inputs, len(design.classes)))


def initialised(design: SmallDesign, seed: int) -> SmallCNN:
    """A network before training: He-normal weights (He et al., ICCV 2015) drawn from a seed, biases of zero."""
    network, random = SmallCNN(design), torch.Generator().manual_seed(seed)
    for stage in network.modules():
        if isinstance(stage, nn.Conv2d | nn.Linear):
            _draw(stage.weight, random)
            if stage.bias is not None:
                nn.init.zeros_(stage.bias)
    return network


def _draw(weight: Tensor, random: torch.Generator) -> None:
    fan_in = weight[0].numel()
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=random) * (2 / fan_in) ** 0.5)
