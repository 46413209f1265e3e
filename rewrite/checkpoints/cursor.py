"""A file's bytes, read one after the other and never beyond their end."""

import struct
from dataclasses import dataclass
from typing import Any

LONGEST_TEXT = 2**22


class DamagedError(ValueError):
    """The bytes of a file are not what is read here; the message says why."""


@dataclass(frozen=True)
class Stretch:
    """Bytes of the file: from `start` up to, not including, `stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class Cursor:
    """A place in a buffer; each method reads on from there.

    Attributes:
        buffer: The whole file.
        position: The next byte.

    Raises:
        DamagedError: Of every method: the buffer ends before what is asked for.
    """

    def __init__(self, buffer: memoryview, position: int = 0):
        self.buffer, self.position = buffer, position

    def take(self, size: int) -> memoryview:
        """The next bytes."""
        if size < 0 or self.position + size > len(self.buffer):
            raise DamagedError("it is cut short")
        self.position += size
        return self.buffer[self.position - size : self.position]

    def number(self, form: str) -> Any:
        """The next number, in a form of `struct`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self, longest: int = LONGEST_TEXT) -> str:
        """What comes before the next end of a line."""
        start = self.position
        for stop in range(start, min(len(self.buffer), start + longest)):
            if self.buffer[stop] == 0x0A:
                self.position = stop + 1
                return bytes(self.buffer[start:stop]).decode("utf-8", "surrogateescape")
        raise DamagedError("a line of it has no end")

    def text(self, size: int) -> str:
        """The next bytes as a text in UTF-8."""
        if size > LONGEST_TEXT:
            raise DamagedError(f"it holds a text of {size} bytes")
        try:
            return bytes(self.take(size)).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise DamagedError("it holds a text that is not UTF-8") from None

    def stretch(self, size: int) -> Stretch:
        """Where the next bytes lie; they are not read."""
        self.take(size)
        return Stretch(self.position - size, self.position)
