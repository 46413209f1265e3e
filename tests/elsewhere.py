"""A device that is not the CPU, on a machine that has none: what is kept there cannot be mixed with what is not.

Its tensors hold real numbers, so that whatever runs on it must give what it gives on the CPU. Torch knows it as `meta`,
the one device beside the CPU that every build has.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

PLACE = torch.device("meta")
# An index may lie on the CPU, and so may what is copied from there.
MIXING = ("aten.copy_", "aten._to_copy", "aten.index", "aten.index_put")


class Far(Tensor):
    """A tensor of that device."""

    @staticmethod
    def __new__(cls, held: Tensor):
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        return Tensor._make_wrapper_subclass(cls, held.shape, device=PLACE, **layout)

    def __init__(self, held: Tensor):
        self.held = held

    def __repr__(self, **_: Any) -> str:
        return f"Far({self.held!r})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Callable, types: Sequence, args: tuple = (), kwargs: Mapping | None = None):
        return run(function, args, dict(kwargs or {}))


class Filling(TorchFunctionMode):
    """Makes tensors of lists where there are numbers: torch gives its own ones on `meta` none."""

    def __torch_function__(self, function: Callable, types: Sequence, args: tuple = (), kwargs: Mapping | None = None):
        kwargs = kwargs or {}
        if function is torch.tensor and kwargs.get("device") == PLACE:
            return torch.tensor(*args, **{**kwargs, "device": "cpu"}).to(PLACE)
        if function is Tensor.tolist:
            return _held(args[0]).tolist()
        if function is Tensor.__getitem__ or function is Tensor.__setitem__:
            args = (args[0], tree_map(_index, args[1], is_leaf=lambda each: isinstance(each, list)), *args[2:])
        return function(*args, **kwargs)


class Dispatching(TorchDispatchMode):
    """Catches also what makes new tensors."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled here: to switch off what compiles, at every operation, takes longer than the operation.
        return False

    def __torch_dispatch__(self, function: Callable, types: Sequence, args: tuple = (), kwargs: Mapping | None = None):
        return run(function, args, dict(kwargs or {}))


@contextmanager
def elsewhere(monkeypatch: pytest.MonkeyPatch, *, narrow: bool) -> Iterator[torch.device]:
    """Make the device be there.

    Args:
        monkeypatch: Of the test.
        narrow: Whether it knows no float64, as Apple's.
    """
    monkeypatch.setattr("rewrite.generators.devices.NARROW", {PLACE.type} if narrow else set())
    monkeypatch.setattr("tests.elsewhere.KNOWS_FLOAT64", not narrow)
    with Filling(), Dispatching():
        yield PLACE


KNOWS_FLOAT64 = True


def run(function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Run an operation where its tensors are."""
    tensors: list[Tensor] = []
    held = _each(args, _held, tensors), {name: _each(value, _held, tensors) for name, value in kwargs.items()}
    far = [each for each in tensors if isinstance(each, Far)]
    near = [each for each in tensors if not isinstance(each, Far) and each.ndim]
    if far and near and not _named(function, MIXING):
        raise RuntimeError(f"{function} of tensors on two devices: {[(type(each), each.shape) for each in tensors]}")
    goes_far = bool(far)
    if kwargs.get("device") is not None:
        goes_far, held[1]["device"] = torch.device(kwargs["device"]) == PLACE, torch.device("cpu")
    elif _named(function, "aten.copy_"):
        goes_far = isinstance(args[0], Far)
    found = function(*held[0], **held[1])
    # What writes into a tensor gives that tensor.
    whose = {id(each.held): each for each in far}
    return _each(found, lambda each: whose[id(each)] if id(each) in whose else _placed(each, goes_far))


@cache
def _named(function: Callable, names: str | tuple[str, ...]) -> bool:
    return str(function).startswith(names)


def _each(value: Any, act: Callable[[Tensor], Any], seen: list[Tensor] | None = None) -> Any:
    """Do something with each tensor, also with those in lists, and tell which there were."""
    if isinstance(value, Tensor):
        if seen is not None:
            seen.append(value)
        return act(value)
    return type(value)([_each(one, act, seen) for one in value]) if type(value) in (tuple, list) else value


def _index(each: Any) -> Any:
    return torch.tensor(each, dtype=torch.int64) if isinstance(each, list) else each


def _held(each: Any) -> Any:
    return each.held if isinstance(each, Far) else each


def _placed(each: Any, goes_far: bool) -> Any:
    if not isinstance(each, Tensor) or not goes_far:
        return each
    if each.dtype == torch.float64 and not KNOWS_FLOAT64:
        raise TypeError("this device knows no float64")
    return Far(each)
