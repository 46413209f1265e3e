"""Images as all else here takes them: three colours, or four with opacity as the last."""

from jaxtyping import Float
from torch import Tensor

GREY, COLOURED = 1, (3, 4)


def check_colours(count: int) -> None:
    """Refuse a network whose output has another number of channels than images have.

    Raises:
        ValueError: It has.
    """
    if count != GREY and count not in COLOURED:
        raise ValueError(f"an image has 1 (grey), 3 (RGB) or 4 (RGBA) channels, the network gives {count}")


def coloured(images: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images colours height width"]:
    """Images with grey in all three colours."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == GREY else images
