"""Convolutional classifiers: no generators, though their tensors, read backwards, make a chain down to colours too."""

from collections.abc import Mapping
from itertools import pairwise

from rewrite.checkpoints.tensors import Placed

COLOURS = (1, 3)
ADVICE = (
    "it looks like a convolutional classifier, which draws nothing: build its module in Python, load the file into it "
    "and dissect it with dissect.PictureProbe"
)


def looks_like(state: Mapping[str, Placed]) -> bool:
    """Whether each convolution reads what the one before it writes, the first colours, and linear layers follow.

    Args:
        state: The tensors, in the order of the file.
    """
    shapes = [tensor.shape for name, tensor in state.items() if name.endswith("weight") and len(tensor.shape) in (2, 4)]
    kernels = [shape for shape in shapes if len(shape) == 4]
    linear = shapes[len(kernels) :]
    in_order = bool(kernels) and shapes[: len(kernels)] == kernels and bool(linear)
    if not in_order or kernels[0][1] not in COLOURS or any(0 in shape for shape in shapes):
        return False
    chained = all(after[1] == before[0] for part in (kernels, linear) for before, after in pairwise(part))
    return chained and linear[0][1] % kernels[-1][0] == 0
