"""Concepts, and whatever tells which of them the pixels of an image show."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Protocol, runtime_checkable

from jaxtyping import Int16
from torch import Tensor

from rewrite.storage.quoting import quoted

NONE = -1
# Concepts that a message lists.
MOST_NAMED = 20
SHOWN = 5


@dataclass(frozen=True)
class Concepts:
    """What the numbers of a label map stand for; `NONE` stands for no concept.

    Attributes:
        names: The name of each number.
        categories: The category of each: object, part, material, …

    Raises:
        ValueError: There is no name, a name stands twice, or names and categories differ in number.
    """

    names: tuple[str, ...]
    categories: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            double = [name for name, times in Counter(self.names).items() if times > 1]
            raise ValueError(
                f"concepts need different names, got {quoted(double[0])} twice" if double else "there is no concept"
            )
        if len(self.names) != len(self.categories):
            raise ValueError(f"{len(self.names)} concepts need a category each, got {len(self.categories)}")

    @classmethod
    def of(cls, names: Sequence[str], category: str = "object") -> "Concepts":
        """Concepts of one category."""
        return cls(tuple(names), (category,) * len(names))

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        more = ", …" if len(self) > SHOWN else ""
        return f"<Concepts: names={len(self)}, categories={len(self.kinds)}: {', '.join(self.names[:SHOWN])}{more}>"

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The different categories, in the order in which they first stand."""
        return tuple(dict.fromkeys(self.categories))

    @cached_property
    def kind_numbers(self) -> tuple[int, ...]:
        """For each concept the number of its category in `kinds`."""
        numbers = {kind: number for number, kind in enumerate(self.kinds)}
        return tuple(numbers[category] for category in self.categories)

    def number(self, name: str) -> int:
        """The number of a concept.

        Raises:
            LookupError: There is none of this name; the message names the nearest.
        """
        if name in self.names:
            return self.names.index(name)
        near = get_close_matches(name, self.names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.names[:MOST_NAMED])}"
        hint += ", …" if not near and len(self) > MOST_NAMED else ""
        raise LookupError(f"there is no concept {quoted(name)}: {hint}")


@runtime_checkable
class ConceptSource(Protocol):
    """Names what the pixels of images show: a network that segments, a function, a renderer that knows.

    Attributes:
        concepts: What the numbers of a label map stand for.
        identity: What tells this source from others in the provenance of a result.
    """

    concepts: Concepts
    identity: str

    @abstractmethod
    def label(self, images: Tensor, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        """Name the pixels of images.

        Args:
            images: In [-1, 1], of shape (n, 3, h, w), on any device.
            numbers: The seed or number of each image, for sources that know more of an image than its pixels.

        Returns:
            One or more maps that lie over each other, of any size, with the numbers of concepts, or -1 for none. A map
            of one pixel labels the whole image. No concept may stand in two maps at one pixel.
        """
