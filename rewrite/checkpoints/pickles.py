"""Pickles read as data: each opcode is interpreted here, and nothing that a pickle names is imported or called.

Python's own unpickler, even with its `find_class` closed, can be made to allocate any amount of memory by a few bytes,
or to hash forever, and torch's reader (`weights_only=True`) refuses NVIDIA's objects. So this one is by hand: it
allocates no more than the file holds, pays for what it copies and hashes, and says where in the file each tensor lies,
so that it can be written there again.
"""

from collections.abc import Callable, Mapping

from rewrite.checkpoints.budget import Budget
from rewrite.checkpoints.cursor import Cursor, DamagedError
from rewrite.checkpoints.made import Made, Named, Value
from rewrite.checkpoints.pickle_keys import sure_key
from rewrite.checkpoints.stack import MARK, Stack

LONGEST_NUMBER = 1000
Maker = Callable[..., Value]


class Pickle:
    """One pickle in a buffer.

    Args:
        buffer: The whole file.
        start: Where the pickle begins.
        makers: Our own functions for the callables that are known, by (module, name). Every other call gives a `Made`.
        persistent: What a persistent id stands for.
        budget: What the pickle may cost, which it shares with others of the file.
    """

    def __init__(
        self,
        buffer: memoryview,
        start: int = 0,
        *,
        makers: Mapping[tuple[str, str], Maker] | None = None,
        persistent: Callable[[Value], Value] | None = None,
        budget: Budget | None = None,
    ):
        self.cursor, self.budget = Cursor(buffer, start), budget or Budget()
        self.unsure = 0
        self.makers, self.persistent = makers or {}, persistent
        self.stack = Stack()
        self.memo: dict[int, Value] = {}

    def load(self) -> Value:
        """Read up to the end of the pickle; the cursor is then behind it.

        Raises:
            DamagedError: It is cut short, or does what a pickle of data never does.
        """
        while True:
            self.budget.spend(1)
            code = self.cursor.take(1)[0]
            if code == 0x2E:  # STOP
                return self.stack.pop()
            operation = OPERATIONS.get(code)
            if operation is None:
                raise DamagedError(f"it holds opcode {code:#04x}, which is not read here")
            operation(self)

    # Containers

    def _append(self, values: list[Value]) -> None:
        target = self.stack.top()
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Made):
            target.items.extend(values)
        else:
            raise DamagedError(f"it appends to a {type(target).__name__}")

    def _set(self, values: list[Value]) -> None:
        target = self.stack.top()
        if isinstance(target, Made):
            target = target.entries
        if not isinstance(target, dict) or len(values) % 2:
            raise DamagedError(f"it sets items of a {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not sure_key(key):
                # Each may have the hash of all those before it, and be compared with them.
                self.unsure += 1
                self.budget.spend(self.unsure)
            target[key] = value

    # Calls

    def _call(self, named: Value, arguments: Value, keywords: Value = None) -> Value:
        if not isinstance(arguments, tuple):
            raise DamagedError("it calls with arguments that are not a tuple")
        given = (*arguments, keywords)
        self.budget.spend(sum(len(each) for each in given if isinstance(each, list | tuple | dict)))
        maker = self.makers.get((named.module, named.name)) if isinstance(named, Named) else None
        if maker is None:
            return Made(named, arguments, entries=dict(keywords) if isinstance(keywords, dict) else {})
        try:
            return maker(*arguments)
        except DamagedError:
            raise
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError):
            raise DamagedError(f"it calls {named} in a way that is not known") from None

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack.top()
        build = getattr(target, "build", None)
        if build is None:
            if not isinstance(target, dict):
                raise DamagedError(f"it gives a state to a {type(target).__name__}")
            return  # The state of an ordered dictionary is of no use here.
        try:
            build(state)
        except DamagedError:
            raise
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError):
            raise DamagedError(f"it gives a {type(target).__name__} a state that is not known") from None

    def _remember(self, index: int) -> None:
        self.memo[index] = self.stack.top()

    def _recall(self, index: int) -> None:
        if index not in self.memo:
            raise DamagedError(f"it recalls value {index}, which it never kept")
        self.stack.push(self.memo[index])

    def _global(self) -> None:
        module = self.cursor.line()
        self.stack.push(Named(module, self.cursor.line()))

    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise DamagedError("it names something by what is not a text")
        self.stack.push(Named(module, name))

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack.push(self._call(self.stack.pop(), arguments))

    def _new_with_keywords(self) -> None:
        keywords, arguments = self.stack.pop(), self.stack.pop()
        self.stack.push(self._call(self.stack.pop(), arguments, keywords))

    def _instance(self) -> None:
        values = self.stack.since_mark()
        module = self.cursor.line()
        self.stack.push(self._call(Named(module, self.cursor.line()), tuple(values)))

    def _object(self) -> None:
        values = self.stack.since_mark()
        if not values:
            raise DamagedError("it makes an object of no class")
        self.stack.push(self._call(values[0], tuple(values[1:])))

    def _persist(self, identity: Value) -> None:
        if self.persistent is None:
            raise DamagedError("it refers to something outside of itself")
        self.stack.push(self.persistent(identity))

    def _tuple(self, size: int) -> None:
        self.stack.push(tuple(reversed([self.stack.pop() for _ in range(size)])))

    def _set_one(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _append_one(self) -> None:
        value = self.stack.pop()
        self._append([value])

    def _whole(self, text: str) -> int:
        try:
            return int(text.rstrip("L"))
        except ValueError:
            raise DamagedError("it holds a number that cannot be read") from None

    def _real(self) -> None:
        try:
            self.stack.push(float(self.cursor.line(LONGEST_NUMBER)))
        except ValueError:
            raise DamagedError("it holds a number that cannot be read") from None

    def _line_number(self) -> None:
        text = self.cursor.line(LONGEST_NUMBER)
        self.stack.push({"00": False, "01": True}[text] if text in ("00", "01") else self._whole(text))

    def _long(self, size: int) -> None:
        if size > LONGEST_NUMBER:
            raise DamagedError(f"it holds a number of {size} bytes")
        self.stack.push(int.from_bytes(self.cursor.take(size), "little", signed=True))

    def _quoted(self) -> None:
        text = self.cursor.line()
        if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
            raise DamagedError("it holds a text without quotes")
        self.stack.push(text[1:-1])

    def _escaped(self) -> str:
        try:
            return self.cursor.line().encode("utf-8", "surrogateescape").decode("raw-unicode-escape")
        except UnicodeDecodeError:
            raise DamagedError("it holds a text that is not Unicode") from None

    def _dictionary(self) -> None:
        values = self.stack.since_mark()
        self.stack.push({})
        self._set(values)


def _pushes(read: Callable[[Pickle], Value]) -> Callable[[Pickle], None]:
    return lambda pickle: pickle.stack.push(read(pickle))


OPERATIONS: Mapping[int, Callable[[Pickle], None]] = {
    ord(code): operation
    for code, operation in {
        "\x80": lambda p: p.cursor.take(1),  # PROTO
        "\x95": lambda p: p.cursor.take(8),  # FRAME
        "(": _pushes(lambda p: MARK),
        "0": lambda p: p.stack.pop_any(),
        "1": lambda p: p.stack.since_mark(),
        "2": _pushes(lambda p: p.stack.top()),
        "N": _pushes(lambda p: None),
        "\x88": _pushes(lambda p: True),
        "\x89": _pushes(lambda p: False),
        "I": Pickle._line_number,
        "L": _pushes(lambda p: p._whole(p.cursor.line(LONGEST_NUMBER))),
        "J": _pushes(lambda p: p.cursor.number("<i")),
        "K": _pushes(lambda p: p.cursor.number("<B")),
        "M": _pushes(lambda p: p.cursor.number("<H")),
        "\x8a": lambda p: p._long(p.cursor.number("<B")),
        "\x8b": lambda p: p._long(p.cursor.number("<i")),
        "F": Pickle._real,
        "G": _pushes(lambda p: p.cursor.number(">d")),
        "S": Pickle._quoted,
        "V": _pushes(Pickle._escaped),
        "X": _pushes(lambda p: p.cursor.text(p.cursor.number("<I"))),
        "\x8c": _pushes(lambda p: p.cursor.text(p.cursor.number("<B"))),
        "\x8d": _pushes(lambda p: p.cursor.text(p.cursor.number("<Q"))),
        "T": _pushes(lambda p: p.cursor.stretch(p.cursor.number("<i"))),
        "U": _pushes(lambda p: bytes(p.cursor.take(p.cursor.number("<B"))).decode("latin-1")),
        "B": _pushes(lambda p: p.cursor.stretch(p.cursor.number("<I"))),
        "C": _pushes(lambda p: p.cursor.stretch(p.cursor.number("<B"))),
        "\x8e": _pushes(lambda p: p.cursor.stretch(p.cursor.number("<Q"))),
        "\x96": _pushes(lambda p: p.cursor.stretch(p.cursor.number("<Q"))),
        "]": _pushes(lambda p: []),
        "}": _pushes(lambda p: {}),
        ")": _pushes(lambda p: ()),
        "\x8f": _pushes(lambda p: []),  # a set, as a list
        "l": _pushes(lambda p: p.stack.since_mark()),
        "d": Pickle._dictionary,
        "t": _pushes(lambda p: tuple(p.stack.since_mark())),
        "\x85": lambda p: p._tuple(1),
        "\x86": lambda p: p._tuple(2),
        "\x87": lambda p: p._tuple(3),
        "\x91": _pushes(lambda p: p.stack.since_mark()),  # a frozen set, as a list
        "a": Pickle._append_one,
        "e": lambda p: p._append(p.stack.since_mark()),
        "\x90": lambda p: p._append(p.stack.since_mark()),
        "s": Pickle._set_one,
        "u": lambda p: p._set(p.stack.since_mark()),
        "p": lambda p: p._remember(p._whole(p.cursor.line(LONGEST_NUMBER))),
        "q": lambda p: p._remember(p.cursor.number("<B")),
        "r": lambda p: p._remember(p.cursor.number("<I")),
        "\x94": lambda p: p._remember(len(p.memo)),
        "g": lambda p: p._recall(p._whole(p.cursor.line(LONGEST_NUMBER))),
        "h": lambda p: p._recall(p.cursor.number("<B")),
        "j": lambda p: p._recall(p.cursor.number("<I")),
        "c": Pickle._global,
        "\x93": Pickle._stack_global,
        "R": Pickle._reduce,
        "\x81": Pickle._reduce,  # NEWOBJ
        "\x92": Pickle._new_with_keywords,
        "i": Pickle._instance,
        "o": Pickle._object,
        "b": Pickle._build,
        "P": lambda p: p._persist(p.cursor.line()),
        "Q": lambda p: p._persist(p.stack.pop()),
    }.items()
}
