"""Which layers of a user's module cannot be edited, and why."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.utils import parametrize

from rewrite.generators.modules import kind_of
from rewrite.generators.parametrised import why_not

OTHERS = (nn.Conv3d, nn.ConvTranspose3d)


def check_module(module: nn.Module) -> None:
    """Refuse a module whose layers no hook sees.

    Raises:
        ValueError: It is TorchScript, or was compiled.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            "a TorchScript module runs past its layers: build the module in Python, and load its state dict"
        )
    if type(module).__name__ == "OptimizedModule":
        raise ValueError("a compiled module runs past its layers: wrap the module that was compiled, module._orig_mod")


def reasons(module: nn.Module, runs: Mapping[str, int]) -> dict[str, str]:
    """Why each layer that is left out is, as the end of a sentence.

    Args:
        module: The module.
        runs: How often each layer of an editable kind ran for an image.
    """
    users: dict[int, list[str]] = {}
    for name, stage in module.named_modules(remove_duplicate=False):
        weight = stage._parameters.get("weight")
        if weight is not None:
            users.setdefault(id(weight), []).append(name)
    stages = dict(module.named_modules())
    found = {
        name: f"is a {type(stage).__name__}, which is not edited here"
        for name, stage in stages.items()
        if isinstance(stage, OTHERS) and kind_of(stage) is None
    }
    for name, count in runs.items():
        reason = _reason(name, stages[name], count, users)
        if reason:
            found[name] = reason
    return found


def _reason(name: str, stage: nn.Module, count: int, users: Mapping[int, list[str]]) -> str:
    weight = stage._parameters.get("weight")
    if count == 0:
        return "does not run"
    if count > 1:
        return "runs more than once for an image"
    if parametrize.is_parametrized(stage, "weight") or weight is None:
        return why_not(stage)
    others = [user for user in users[id(weight)] if user != name]
    return f"shares its weight with {others[0]}, which an edit would change too" if others else ""
