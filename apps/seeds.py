"""Seeds as people write them: `0-15`, `0-3,7`; or latents of a file that stand in their place."""

from argparse import Namespace

from rewrite import Generator, Latents, read_latents
from rewrite.storage.quoting import quoted

MOST = 100_000


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from numbers and ranges, both ends included, in the order given.

    Raises:
        ValueError: The text is something else, or names too many.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise ValueError(f"seeds are numbers and ranges such as 0-15 or 0-3,7, got {quoted(text)}")
        ends = int(first), int(last or first)
        if ends[1] < ends[0] or ends[1] >= 2**32:
            raise ValueError(f"a range of seeds goes up, to at most 4294967295, got {quoted(part.strip())}")
        if len(seeds) + ends[1] - ends[0] >= MOST:
            raise ValueError(f"at most {MOST} seeds can be named at once, got {quoted(text)}")
        seeds += range(ends[0], ends[1] + 1)
    return tuple(seeds)


def images_of(options: Namespace, generator: Generator) -> tuple[int, ...] | Latents | None:
    """The images of a command line: those of --latents, or of --seeds; None where neither is given.

    Raises:
        FileNotFoundError: There is no such file of latents.
        ValueError: The seeds are none, or the file holds no latents of such a generator.
    """
    if options.latents is not None:
        return read_latents(options.latents, generator)
    return None if options.seeds is None else parse_seeds(options.seeds)
