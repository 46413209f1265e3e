"""Where pictures only decide between answers, smaller ones do."""

from rewrite.generators.contract import Generator

# Of 64 x 64 pixels, an image takes less time than solving does; it shows what becomes of a layer of 32 x 32 cells.
SIDE = 64


def sketched(generator: Generator, layer: str) -> Generator:
    """The generator that draws pictures which decide between answers: the sketch of one whose images are larger."""
    return generator.sketch(layer, SIDE) if min(generator.size) > SIDE else generator
