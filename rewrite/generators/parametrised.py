"""Weights that a module computes from other tensors: spectral and weight normalisation, by torch's old and new ways.

An edit is of the weight that the module runs with. So the tensors behind it are set to give just the edited weight, and
a state dict of the module, loaded into the same module elsewhere, draws what was drawn here. That is possible where

- a weight norm is one of g v / |v|: v is the edited weight, and g its norm;
- a spectral norm is W / (u' W v) with u and v as they stand, as in evaluation: W is the edited weight, and the length
  of v brings u' W v to one. In training mode both move at each run.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.spectral_norm import SpectralNorm as SpectralHook
from torch.nn.utils.weight_norm import WeightNorm as WeightHook

Weight = Float[Tensor, "*shape"]
IN_TRAINING = "has a spectral norm, which moves at each run in training: call eval() on the module first"
FOLD = "fold it, as torch.nn.utils.parametrize.remove_parametrizations or remove_spectral_norm do"
UNKNOWN = f"has a weight that is computed from others: {FOLD}"


class Computed(ABC):
    """How the weight of a module is computed."""

    @abstractmethod
    def weight(self) -> Weight:
        """The weight that the module runs with."""

    @abstractmethod
    def stored(self) -> Mapping[str, Tensor]:
        """The tensors that it is computed from, by their names within the module."""

    @abstractmethod
    def store(self, weight: Weight) -> None:
        """Set them so that they give this weight.

        Raises:
            ValueError: They cannot give it.
        """


class WeightNorm(Computed):
    """g v / |v|, with one g for each index along an axis, or for all; torch's own function computes it."""

    def __init__(self, names: tuple[str, str], g: Tensor, v: Tensor, dim: int, compute: Callable[[], Tensor]):
        self.names, self.g, self.v, self.dim, self.compute = names, g, v, dim, compute

    def weight(self) -> Weight:
        return self.compute().detach()

    def stored(self) -> Mapping[str, Tensor]:
        return dict(zip(self.names, (self.g, self.v), strict=True))

    def store(self, weight: Weight) -> None:
        size = torch.norm_except_dim(weight, 2, self.dim)
        # What is all zero has no direction; it keeps the one it had.
        self.v.copy_(torch.where(size > 0, weight, self.v))
        self.g.copy_(size)


class SpectralNorm(Computed):
    """W / (u' W v)."""

    def __init__(self, names: tuple[str, str], original: Tensor, v: Tensor, u: Tensor, dim: int):
        self.names, self.original, self.v, self.u, self.dim = names, original, v, u, dim

    def weight(self) -> Weight:
        return (self.original / self._size(self.original)).detach()

    def stored(self) -> Mapping[str, Tensor]:
        return dict(zip(self.names, (self.original, self.v), strict=True))

    def store(self, weight: Weight) -> None:
        size = self._size(weight)
        if not size > 0:
            raise ValueError(f"this edit leaves nothing of the largest direction of a weight of spectral norm: {FOLD}")
        self.original.copy_(weight)
        self.v.div_(size)

    def _size(self, weight: Tensor) -> Tensor:
        return torch.vdot(self.u, torch.mv(weight.movedim(self.dim, 0).flatten(1), self.v))


def computed(stage: nn.Module) -> Computed | None:
    """How the weight of a module is computed; None where it is a parameter, or in a way that is not known here."""
    return _by_parametrisation(stage) if parametrize.is_parametrized(stage, "weight") else _by_hook(stage)


def why_not(stage: nn.Module) -> str:
    """Why a computed weight cannot be edited, as the end of a sentence; nothing where it can."""
    found = computed(stage)
    if found is None:
        return UNKNOWN
    return IN_TRAINING if isinstance(found, SpectralNorm) and stage.training else ""


def weight_of(module: nn.Module, path: str) -> Tensor:
    """The weight that a part of a module runs with."""
    stage, _, name = path.rpartition(".")
    found = computed(module.get_submodule(stage)) if name == "weight" else None
    return module.get_parameter(path) if found is None else found.weight()


def stored_in(module: nn.Module, path: str) -> dict[str, Tensor]:
    """The tensors that a weight is computed from, or is, by their names in the module."""
    stage, _, name = path.rpartition(".")
    found = computed(module.get_submodule(stage)) if name == "weight" else None
    if found is None:
        return {path: module.get_parameter(path)}
    return {f"{stage}.{inner}".lstrip("."): tensor for inner, tensor in found.stored().items()}


@torch.no_grad()
def store_in(module: nn.Module, path: str, weight: Tensor) -> None:
    """Make the weight of a part of a module this one.

    Raises:
        ValueError: It is computed from tensors that cannot give it.
    """
    stage, _, name = path.rpartition(".")
    found = computed(module.get_submodule(stage)) if name == "weight" else None
    if found is None:
        parameter = module.get_parameter(path)
        parameter.copy_(weight.reshape(parameter.shape))
    else:
        found.store(weight.reshape(found.weight().shape))


def _by_parametrisation(stage: nn.Module) -> Computed | None:
    """By `torch.nn.utils.parametrizations`, where it is the only one."""
    found = stage.get_submodule("parametrizations.weight")
    if not isinstance(found, parametrize.ParametrizationList) or len(found) != 1:
        return None
    kind, place = found[0], "parametrizations.weight"
    if isinstance(kind, parametrizations._WeightNorm):
        names = (f"{place}.original0", f"{place}.original1")
        g, v = (found.get_parameter(name.rpartition(".")[2]).data for name in names)
        return WeightNorm(names, g, v, kind.dim, found)
    if isinstance(kind, parametrizations._SpectralNorm) and found.original.ndim > 1:
        return SpectralNorm((f"{place}.original", f"{place}.0._v"), found.original.data, kind._v, kind._u, kind.dim)
    return None


def _by_hook(stage: nn.Module) -> Computed | None:
    """By the hooks of `torch.nn.utils.weight_norm` and `spectral_norm`."""
    for hook in stage._forward_pre_hooks.values():
        if isinstance(hook, WeightHook) and hook.name == "weight":
            g, v = stage.get_parameter("weight_g"), stage.get_parameter("weight_v")
            return WeightNorm(("weight_g", "weight_v"), g.data, v.data, hook.dim, partial(hook.compute_weight, stage))
        if isinstance(hook, SpectralHook) and hook.name == "weight":
            original, names = stage.get_parameter("weight_orig"), ("weight_orig", "weight_v")
            return SpectralNorm(
                names, original.data, stage.get_buffer("weight_v"), stage.get_buffer("weight_u"), hook.dim
            )
    return None
