"""Tensors in a file: where they lie, from what a pickle says of them; numbers are read only when asked for."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rewrite.checkpoints.cursor import DamagedError, Stretch
from rewrite.checkpoints.made import Named
from rewrite.checkpoints.pickle_keys import ordered
from rewrite.checkpoints.pickles import Maker
from rewrite.storage.quoting import quoted

TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
ARRAY_TYPES = {
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
    "i1": torch.int8,
    "i2": torch.int16,
    "i4": torch.int32,
    "i8": torch.int64,
    "u1": torch.uint8,
    "b1": torch.bool,
}
MOST_DIMENSIONS = 16


@dataclass(eq=False)
class Storage:
    """Numbers of one type, one after the other in the file.

    Attributes:
        dtype: Their type; little-endian.
        count: How many.
        start: Where the first lies in the file; None until that is known.
        name: What the container calls it.
    """

    dtype: torch.dtype
    count: int
    start: int | None = None
    name: str = ""

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class Placed:
    """A tensor in a storage.

    Attributes:
        storage: The storage.
        offset: Which number of the storage is the tensor's first.
        shape, stride: As in torch.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.shape) != len(self.stride) or len(self.shape) > MOST_DIMENSIONS:
            raise DamagedError("it holds a tensor whose size and stride do not fit together")
        whole = (*self.shape, *self.stride, self.offset)
        if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in whole):
            raise DamagedError("it holds a tensor whose size is not valid")
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        count = math.prod(self.shape)
        # A stride of zero would make a huge tensor of a few numbers.
        if count and (last >= self.storage.count or count > self.storage.count):
            raise DamagedError(
                f"it holds a tensor of {count} numbers that reaches beyond its {self.storage.count} numbers"
            )

    @property
    def dtype(self) -> torch.dtype:
        """Type of the numbers."""
        return self.storage.dtype

    @property
    def where(self) -> tuple[int, int]:
        """Its place in the file, equal for tensors that share it."""
        return id(self.storage), self.offset

    def read(self, buffer: memoryview) -> Tensor:
        """A copy of the tensor, whose numbers lie in the order of its axes."""
        if math.prod(self.shape) == 0:
            return torch.empty(self.shape, dtype=self.dtype)
        return self._view(_whole_storage(self.storage, buffer)).clone(memory_format=torch.contiguous_format)

    def write(self, buffer: bytearray | memoryview, values: Tensor) -> None:
        """Put other values of the same shape into a writable copy of the file."""
        if tuple(values.shape) != self.shape:
            raise ValueError(f"the tensor has the shape {self.shape}, not {tuple(values.shape)}")
        if math.prod(self.shape):
            self._view(_whole_storage(self.storage, buffer)).copy_(values)

    def _view(self, whole: Tensor) -> Tensor:
        return whole.as_strided(self.shape, self.stride, self.offset)


def _whole_storage(storage: Storage, buffer: bytearray | memoryview) -> Tensor:
    if storage.start is None or storage.start + storage.size > len(buffer):
        raise DamagedError("it is cut short: not all of its numbers are there")
    with warnings.catch_warnings():
        # Torch warns of memory that must not be written; here it is only copied from.
        warnings.simplefilter("ignore", UserWarning)
        return torch.frombuffer(buffer, dtype=storage.dtype, count=storage.count, offset=storage.start)


class NumpyType:
    """A numpy dtype as a pickle describes it."""

    def __init__(self, code: str, *_: Any):
        if not isinstance(code, str):
            raise DamagedError("it holds an array of no type")
        self.code, self.order = code, "<"

    def build(self, state: tuple) -> None:
        """Take the byte order."""
        if not isinstance(state[1], str):
            raise DamagedError("it holds an array of no byte order")
        self.order = state[1]

    @property
    def known(self) -> bool:
        """Whether torch has such numbers in the same bytes."""
        return self.code in ARRAY_TYPES and self.order in ("<", "|", "=")


class NumpyArray:
    """A numpy array as a pickle describes it.

    Attributes:
        placed: Where it lies, once its state came; None for one of texts or objects, and for one whose bytes are
            encoded as text (protocol 2 of pickle). Training scripts keep such beside their tensors; no weight is one.
    """

    def __init__(self, *_: Any):
        self.placed: Placed | None = None

    def build(self, state: tuple) -> None:
        """Take shape, type and bytes."""
        _, shape, kind, by_columns, content = state
        if not isinstance(content, Stretch) or not isinstance(kind, NumpyType) or not kind.known:
            return
        shape, dtype = _shape(shape), ARRAY_TYPES[kind.code]
        if len(content) % dtype.itemsize:
            raise DamagedError("it holds an array that is cut short")
        storage = Storage(dtype, len(content) // dtype.itemsize, content.start)
        self.placed = Placed(storage, 0, shape, _columns_first(shape) if by_columns else _rows_first(shape))


def _scalar(kind: NumpyType, content: Any) -> NumpyArray:
    """A numpy scalar, as an array without dimensions."""
    array = NumpyArray()
    array.build((1, (), kind, False, content))
    return array


def _from_buffer(content: Any, kind: NumpyType, shape: tuple, order: str, *_: Any) -> NumpyArray:
    """A numpy array as the fifth protocol of pickle has it."""
    if order not in ("C", "F"):
        raise DamagedError("it holds an array whose axes lie in an order that is not read here")
    array = NumpyArray()
    array.build((1, shape, kind, order == "F", content))
    return array


def _shape(shape: Any) -> tuple[int, ...]:
    """A shape, which a file may have made of any size.

    Raises:
        DamagedError: It has more dimensions than any tensor.
    """
    if not isinstance(shape, tuple | list) or len(shape) > MOST_DIMENSIONS:
        raise DamagedError(f"it holds a tensor that has not at most {MOST_DIMENSIONS} dimensions")
    return tuple(shape)


def _rows_first(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def _columns_first(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.prod(shape[:i]) for i in range(len(shape)))


def _tensor(storage: Storage, offset: int, shape: tuple, stride: tuple, *_: Any) -> Placed:
    if not isinstance(storage, Storage):
        raise DamagedError("it holds a tensor without numbers")
    return Placed(storage, offset, _shape(shape), _shape(stride))


def _parameter(data: Placed, *_: Any) -> Placed:
    if not isinstance(data, Placed):
        raise DamagedError("it holds a parameter that is not a tensor")
    return data


def storage_type(named: Any) -> torch.dtype:
    """The type of numbers that a storage class of torch holds."""
    name = named.name if isinstance(named, Named) else None
    if name not in TYPES:
        raise DamagedError(f"it holds numbers of type {quoted(name)}, which is not read here")
    return TYPES[name]


MAKERS: dict[tuple[str, str], Maker] = {
    ("collections", "OrderedDict"): ordered,
    ("dnnlib.util", "EasyDict"): lambda: {},
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch", "Size"): lambda sizes=(): tuple(sizes),
    ("torch.nn.parameter", "Parameter"): _parameter,
    ("numpy", "dtype"): NumpyType,
    ("numpy.core.multiarray", "_reconstruct"): NumpyArray,
    ("numpy._core.multiarray", "_reconstruct"): NumpyArray,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
}
