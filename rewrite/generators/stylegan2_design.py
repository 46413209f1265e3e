"""Which StyleGAN2: its sides, widths and architecture."""

from collections import abc
from dataclasses import dataclass
from itertools import pairwise

from rewrite.storage.quoting import quoted

ARCHITECTURES = ("skip", "resnet", "orig")
LARGEST_SIDE, MOST_LAYERS = 4096, 32


@dataclass(frozen=True)
class Design:
    """The architecture of a StyleGAN2.

    Attributes:
        z_dim, w_dim: Lengths of z and w.
        mapping_layers: Number of linear layers from z to w.
        channels: Number of channels at each side; the sides double from 4.
        architecture: `skip` adds colours at every side, `orig` and `resnet` draw them at the last alone.
        colours: Number of channels of an image.
        c_dim: Number of classes; 0 for none.
        embed_dim: Length of a class's embedding; w_dim if left out.
        mapping_rate: Learning-rate multiplier of the mapping.
        clamp: Limit of what a layer writes; None for none.
        first_height, first_width: Height and width of the first map, 4 and 4 for square images.
        conv_gain: Whether stored weights of convolutions are scaled by 1/√fan-in, as in rosinality's files.
    """

    z_dim: int
    w_dim: int
    mapping_layers: int
    channels: abc.Mapping[int, int]
    architecture: str = "skip"
    colours: int = 3
    c_dim: int = 0
    embed_dim: int | None = None
    mapping_rate: float = 0.01
    clamp: float | None = None
    first_height: int = 4
    first_width: int = 4
    conv_gain: bool = False

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"the architecture is one of {', '.join(ARCHITECTURES)}, got {quoted(self.architecture)}")
        sides = sorted(self.channels)
        if not sides or sides[0] != 4 or any(b != 2 * a for a, b in pairwise(sides)) or sides[-1] > LARGEST_SIDE:
            raise ValueError(f"sides double from 4, to at most {LARGEST_SIDE}, got {quoted(sides)}")
        if not 1 <= self.mapping_layers <= MOST_LAYERS:
            raise ValueError(f"a mapping has 1 to {MOST_LAYERS} layers, got {self.mapping_layers}")
        if min(self.z_dim, self.w_dim, self.colours, *self.channels.values()) < 1:
            raise ValueError("a number of channels is at least 1, got 0")
        if not 1 <= min(self.first_height, self.first_width) <= max(self.first_height, self.first_width) <= 64:
            raise ValueError(f"the first map has 1 to 64 rows and columns, got {self.first_height}, {self.first_width}")

    def size(self, resolution: int) -> tuple[int, int]:
        """Height and width of the maps of a resolution: of one with this name, where images are no squares."""
        return resolution * self.first_height // 4, resolution * self.first_width // 4
