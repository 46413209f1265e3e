"""How long a command will take, said before it begins where that can be known."""

import sys
import time

from rewrite import Generator

# A shorter wait needs no estimate.
LEAST_IMAGES, LEAST_SECONDS = 50, 10


def foretell(generator: Generator, images: int, seed: int = 0) -> None:
    """Say about how long it takes to draw so many images, from the time that one takes; nothing where that is short.

    Args:
        generator: The generator.
        images: Number of images.
        seed: The one that is drawn, which a map of seeds to classes must know.
    """
    if images < LEAST_IMAGES:
        return
    generator.sample([seed])  # the first takes longer
    begun = time.monotonic()
    generator.sample([seed])
    seconds = images * (time.monotonic() - begun)
    if seconds >= LEAST_SECONDS:
        print(f"about {spoken(seconds)} to draw {images} images", file=sys.stderr)


def spoken(seconds: float) -> str:
    """A time in the unit that people would use."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 90 else f"{round(minutes / 60)} h"
