"""What a pickle names and makes, as data."""

from dataclasses import dataclass, field
from typing import Any

Value = Any


@dataclass(frozen=True)
class Named:
    """A class or function that the pickle names. It is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Made:
    """What a call in the pickle would have made: the callable's name, its arguments, and what was put into it."""

    named: Value
    arguments: tuple = ()
    state: Value = None
    items: list = field(default_factory=list)
    entries: dict = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"an object of {self.named}" if isinstance(self.named, Named) else "an object"

    def build(self, state: Value) -> None:
        """Take the state that the object would have been given."""
        self.state = state
