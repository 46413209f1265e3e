"""How long a command will take, said before it begins where that can be known."""

import sys
import time
from collections.abc import Callable

from rewrite import Generator, Rule
from rewrite.goals.scene import latents_of
from rewrite.goals.shown import BATCH
from rewrite.shards.crew import crew_size
from rewrite.solvers.choice import posed

# A shorter wait needs no estimate.
LEAST_IMAGES, LEAST_TIMES, LEAST_SECONDS = 50, 10, 10


def foretell(generator: Generator, images: int, seed: int = 0) -> None:
    """Say about how long it takes to draw so many images, from the time that one takes; nothing where that is short.

    Args:
        generator: The generator.
        images: Number of images.
        seed: The one that is drawn, which a map of seeds to classes must know.
    """
    if images >= LEAST_IMAGES:
        foretell_times(lambda: generator.sample([seed]), images, f"to draw {images} images")


def foretell_solution(generator: Generator, rule: Rule) -> None:
    """Say about how long the steps of a solution take that run the network, each of them for a batch of images.

    A step runs the part behind the layer forth and back, which takes about as long as to draw the images.
    """
    latents = list(dict.fromkeys(place.latent for place in rule.places))
    settings = posed(generator, rule).settings  # of large images, fewer steps
    steps = settings.descent or settings.finish
    steps += settings.refine * -(-len(latents) // BATCH)
    some = latents_of(generator, latents[:BATCH])
    foretell_times(lambda: generator.images(some), steps, f"for {steps} steps of the solution")


def foretell_times(act: Callable[[], object], times: float, what: str) -> None:
    """Say about how long it takes to do something so many times; nothing where that is short.

    Args:
        act: Does it once.
        times: How often it will be done.
        what: What that is for.
    """
    if times < LEAST_TIMES:
        return
    act()  # the first takes longer
    begun = time.monotonic()
    act()
    seconds = times * (time.monotonic() - begun) / crew_size()
    if seconds >= LEAST_SECONDS:
        print(f"about {spoken(seconds)} {what}", file=sys.stderr)


def spoken(seconds: float) -> str:
    """A time in the unit that people would use."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 90 else f"{round(minutes / 60)} h"
