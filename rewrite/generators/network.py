"""A network seen as named layers that can be edited: what generators and classifiers have in common."""

from abc import ABC
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import torch
from torch import Tensor, nn

from rewrite.generators.devices import device_named
from rewrite.generators.fingerprint import fingerprint_of
from rewrite.generators.layers import Layer
from rewrite.generators.parametrised import weight_of
from rewrite.storage.quoting import LONGEST, quoted

# Of the kind that the network is; not `Self`, which the check of types at run time knows in whole classes only.
Own = TypeVar("Own", bound="Network")


class Network(ABC):
    """A network seen as named layers that can be edited.

    Attributes:
        module: The network. Its parameters are the only state; everything else here is derived from it.
        layers: The editable layers by name, in the order in which they run.
        checkpoint: The file that it was loaded from, or None.
        called: What kind of network it is, for messages.
        left_out: Layers of the module that are not offered, each with the reason.
    """

    module: nn.Module
    layers: Mapping[str, Layer]
    checkpoint: Path | None = None
    called: str = "generator"
    left_out: Mapping[str, str] = MappingProxyType({})

    def units(self, layer: str) -> int:
        """The number of units of a layer: the channels of what it gives.

        Raises:
            LookupError: There is no such layer.
        """
        return self.layer(layer).outputs

    def weight(self, layer: str) -> Tensor:
        """The weight that a layer runs with; `parametrised.store_in` changes it."""
        return weight_of(self.module, self.layer(layer).weight)

    def bias(self, layer: str) -> Tensor | None:
        """The stored bias of a layer, one number a unit, or None; what is written into it changes the network."""
        path = self.layer(layer).bias
        return None if path is None else self.module.get_parameter(path)

    def activation(self, layer: str) -> Callable[[Tensor], Tensor]:
        """The function that follows the values of `layer` and `offset`; the identity if more lies between."""
        return lambda x: x

    def layer(self, name: str) -> Layer:
        """Look a layer up by name.

        Raises:
            LookupError: There is no such layer; the message lists those that exist.
        """
        if name in self.layers:
            return self.layers[name]
        near = get_close_matches(name[:LONGEST], self.layers, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.layers)}"
        raise LookupError(f"this {self.called} has no layer {quoted(name)}: {hint}")

    def _offer(self, wanted: Iterable[str] | None) -> None:
        """Keep only the layers that are wanted, if some are named.

        Raises:
            LookupError: There is no such layer.
            ValueError: One of them cannot be edited.
        """
        if wanted is None:
            return
        chosen = list(wanted)
        for name in chosen:
            if name in self.left_out:
                raise ValueError(f"layer {name} cannot be edited: it {self.left_out[name]}")
            self.layer(name)
        self.layers = {name: self.layers[name] for name in chosen}

    def state(self) -> Mapping[str, Tensor]:
        """The tensors that say which network this is."""
        return self.module.state_dict()

    def to(self: Own, device: torch.device | str | torch.dtype | None = None, dtype: torch.dtype | None = None) -> Own:
        """Move the network to a device, or to another precision: `to("cuda")`, `to(torch.float64)`, or both.

        The fingerprint is a hash of the weights as they are stored. A device does not change it; a precision does: what
        was made in float32 (rules, memories, patches) is refused in float16 and float64, and fits again after
        `to(torch.float32)`, unless the weights lost digits to float16 in between.

        Args:
            device: As torch names it, such as `cpu` or `cuda:1`, or `auto`; where it is if left out.
            dtype: Of the weights, and so of latents, maps and images; what it is if left out.

        Returns:
            The network itself: what is moved is its module.

        Raises:
            ValueError: There is no such device here, or the precision is not one of floating point.
        """
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f"weights are of a floating-point type, got {dtype}")
        self.module.to(device=None if device is None else device_named(device), dtype=dtype)
        return self

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the network's weights."""
        return next(self.module.parameters()).dtype

    @property
    def fingerprint(self) -> str:
        """A hash of all weights as they are now; it changes when a weight is edited.

        It is computed anew each time it is read: torch gives no sound sign of a change (a tensor's version does not
        count what is written through `.data`). That takes about 3 ms for a million weights, 0.15 s for 30 million. Only
        in a block of `weights_held` it is computed once.
        """
        return fingerprint_of(self.module, self.state())
