"""The concepts of a label map: their names, and the category of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rewrite.reports.aims import number_of

NONE = -1


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

    def __post_init__(self):
        if not self.names or len(set(self.names)) != len(self.names):
            double = next((name for name in self.names if self.names.count(name) > 1), None)
            raise ValueError(
                f"concepts need different names, got {double!r} twice" if double else "there is no concept"
            )
        if len(self.names) != len(self.categories):
            raise ValueError(f"{len(self.names)} concepts need a category each, got {len(self.categories)}")

    @classmethod
    def of(cls, names: Sequence[str], category: str = "object") -> "Concepts":
        """Concepts of one category."""
        return cls(tuple(names), (category,) * len(names))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The different categories, in the order in which they first stand."""
        return tuple(dict.fromkeys(self.categories))

    @cached_property
    def kind_numbers(self) -> tuple[int, ...]:
        """For each concept the number of its category in `kinds`."""
        return tuple(self.kinds.index(category) for category in self.categories)

    def number(self, name: str) -> int:
        """The number of a concept.

        Raises:
            LookupError: There is none of this name; the message names the nearest.
        """
        return number_of(name, self.names)
