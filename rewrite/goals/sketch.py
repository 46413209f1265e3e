"""Where pictures only decide between answers, smaller ones do."""

from rewrite.generators.contract import Generator

# Of 64 x 64 pixels, an image takes less time than solving does. One that is no finer than what a layer writes does not
# show what becomes of it.
SIDE, FINER = 64, 2


def sketched(generator: Generator, layer: str) -> Generator:
    """The generator that draws pictures which decide between answers: the sketch of one whose images are larger."""
    if min(generator.size) <= SIDE:
        return generator
    return generator.sketch(layer, max(SIDE, FINER * max(generator.layer(layer).output_grid)))
