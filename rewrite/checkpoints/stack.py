"""The stack that the opcodes of a pickle work on."""

from rewrite.checkpoints.cursor import DamagedError
from rewrite.checkpoints.made import Value

MARK = object()


class Stack:
    """Values and marks. What asks for a value or mark that is not there raises DamagedError."""

    def __init__(self):
        self.values: list[Value] = []

    def push(self, value: Value) -> None:
        """Lay a value or mark on top."""
        self.values.append(value)

    def top(self) -> Value:
        """The value on top, which stays there."""
        if not self.values or self.values[-1] is MARK:
            raise DamagedError("it takes a value from an empty stack")
        return self.values[-1]

    def pop(self) -> Value:
        """Take the value on top."""
        value = self.top()
        del self.values[-1]
        return value

    def pop_any(self) -> None:
        """Drop what is on top, a value or a mark."""
        if not self.values:
            raise DamagedError("it takes a value from an empty stack")
        del self.values[-1]

    def since_mark(self) -> list[Value]:
        """Take all values above the last mark, and the mark."""
        for depth in range(len(self.values) - 1, -1, -1):
            if self.values[depth] is MARK:
                values = self.values[depth + 1 :]
                del self.values[depth:]
                return values
        raise DamagedError("it looks for a mark that is not there")
