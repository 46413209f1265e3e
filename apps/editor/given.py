"""Latents of files, which stand on walls beside seeds: how they are numbered, named, and found again.

A wall knows its images by numbers. A seed is its own number; that of a latent by value lies beyond all seeds and is
made of its values, so that it is the same in every session and after a new start of the server.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np

from apps.seeds import parse_seeds
from rewrite import Generator, Latent, read_latents
from rewrite.generators.latents import Latents
from rewrite.goals.scene import latents_of

SEEDS = 2**32
# So few that a page's numbers hold them exactly.
BYTES = 6
NAME = re.compile(r"\s*[wz](\d{1,4})(?:\s*-\s*[wz](\d{1,4}))?\s*")


class Given:
    """The latents by value on the walls of a model, each known as long as a session has it."""

    def __init__(self):
        self._known = WeakValueDictionary[int, Latent]()

    def shared(self, latent: Latent) -> Latent:
        """The same latent for all sessions, which are to hold this one."""
        return self._known.setdefault(number_of(latent), latent)

    def latent(self, number: int) -> Latent:
        """The latent of a number.

        Raises:
            LookupError: There is none any more.
        """
        found = Latent(number) if number < SEEDS else self._known.get(number)
        if found is None:
            raise LookupError("this latent is not on any wall any more: load its file again")
        return found

    def latents(self, generator: Generator, numbers: Sequence[int]) -> Latents:
        """The inputs of a generator for some numbers.

        Raises:
            LookupError: One of them is not known any more.
        """
        if max(numbers, default=0) < SEEDS:
            return generator.latents(numbers)
        return latents_of(generator, [self.latent(number) for number in numbers])


def number_of(latent: Latent) -> int:
    """The number of a latent: its seed, or beyond all seeds what its values make."""
    values = latent.z if latent.w is None else latent.w
    if values is None:
        return latent.seed
    content = f"{latent.seed} {'z' if latent.w is None else 'w'} ".encode() + np.array(values).tobytes()
    return SEEDS + int.from_bytes(hashlib.sha256(content).digest()[:BYTES])


def uploaded(path: str, generator: Generator) -> list[Latent]:
    """The latents of a file that the page sent.

    Raises:
        ValueError: It holds none of such a generator.
    """
    try:
        return Latent.each(read_latents(path, generator))
    except ValueError as error:
        raise ValueError(str(error).replace(path, Path(path).name)) from None


def names_of(numbers: Iterable[int], given: Sequence[Latent]) -> list[str]:
    """What the images of a wall are called: `seed 3`, or `w1` for the first latent of a session."""
    known = _by_number(given)
    return [known.get(number, f"seed {number}") for number in numbers]


def images_text(numbers: Sequence[int], given: Sequence[Latent]) -> str:
    """The images of a wall as text, such as `0-15`, `1,5,7` or `w1,w2,0,1`."""
    first, count = numbers[0], len(numbers)
    if count > 1 and tuple(numbers) == tuple(range(first, first + count)):
        return f"{first}-{numbers[-1]}"
    return ",".join(name.removeprefix("seed ") for name in names_of(numbers, given))


def parse_images(text: str, given: Sequence[Latent]) -> tuple[int, ...]:
    """The numbers of images as people write them: seeds, and latents by their names.

    Raises:
        ValueError: The text is something else, or there are no such latents.
    """
    numbers: list[int] = []
    for part in text.split(","):
        found = NAME.fullmatch(part)
        numbers += parse_seeds(part) if found is None else _named(int(found[1]), int(found[2] or found[1]), given)
    return tuple(numbers)


def _named(first: int, last: int, given: Sequence[Latent]) -> list[int]:
    if not 1 <= first <= last <= len(given):
        raise ValueError(f"this page has {len(given)} latents of files, counted from 1: got {first} to {last}")
    return [number_of(latent) for latent in given[first - 1 : last]]


def _by_number(given: Sequence[Latent]) -> dict[int, str]:
    kinds = ("z" if latent.w is None else "w" for latent in given)
    numbers = map(number_of, given)
    return {number: f"{kind}{place}" for place, (number, kind) in enumerate(zip(numbers, kinds, strict=True), 1)}
