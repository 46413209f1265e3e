"""What a part gives as maps of units: those of a transformer are laid out from its tokens."""

import math

from jaxtyping import Float
from torch import Tensor

# Class, distillation and register tokens.
MOST_PREFIX = 8


def units_axis(output: Tensor) -> int:
    """The axis of units in what a part gives: the second of maps and vectors, the last of tokens.

    Raises:
        ValueError: It is none of them.
    """
    if output.ndim in (2, 4):
        return 1
    if output.ndim == 3:
        return 2
    raise ValueError(f"units are those of maps, vectors or tokens, the part gives {tuple(output.shape)}")


def as_maps(output: Tensor) -> Float[Tensor, "images units rows columns"]:
    """Maps as they are, vectors as maps of one position, and tokens as the square that they were cut from.

    Tokens before the square (of a class, of registers) are left out.

    Raises:
        ValueError: It is none of them, or the tokens are of no square.
    """
    if output.ndim == 2:
        return output[:, :, None, None]
    if units_axis(output) == 1:
        return output
    count = output.shape[1]
    side = math.isqrt(count)
    if count - side**2 > MOST_PREFIX:
        raise ValueError(f"{count} tokens are no square with at most {MOST_PREFIX} tokens before it")
    return output[:, count - side**2 :].transpose(1, 2).unflatten(2, (side, side))
