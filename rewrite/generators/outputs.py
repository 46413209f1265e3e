"""What modules read and give while a network runs, kept by hooks; what they give as maps of units."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from rewrite.generators.maps import as_maps

Maps = dict[str, Float[Tensor, "images units height width"]]


@contextmanager
def keeping_outputs(module: nn.Module, names: Iterable[str], *, tokens: bool = False) -> Iterator[Maps]:
    """Keep what some modules of a network give while it runs in this context; see `as_maps`.

    Args:
        module: The network.
        names: Paths of the modules.
        tokens: Whether what has three axes are the tokens of a transformer that reads images; refused if not.

    Raises:
        ValueError: One of them did not run, ran more than once, or gave no maps of units.
    """
    names, found = tuple(names), {}
    with ExitStack() as stack:
        for name in names:
            stack.callback(
                module.get_submodule(name).register_forward_hook(_keeping(found, name, tokens=tokens)).remove
            )
        yield found
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"layer {missing[0]} does not run")


def _keeping(found: Maps, name: str, *, tokens: bool) -> Callable[[nn.Module, tuple, Any], None]:
    def keep(module: nn.Module, inputs: tuple, output: Any) -> None:
        if name in found:
            raise ValueError(f"layer {name} runs more than once for an image: name one that runs once")
        if not isinstance(output, Tensor) or output.ndim not in (2, 4, *((3,) if tokens else ())):
            raise ValueError(f"layer {name} gives no maps of units (n, units, height, width)")
        # A copy: later modules may write into the layer's output.
        found[name] = as_maps(output).detach().float().clone()

    return keep


@contextmanager
def noting_inputs(stages: Mapping[str, nn.Module]) -> Iterator[dict[str, list[tuple]]]:
    """Note what enters some modules, by name, each time that one of them runs in this context."""
    seen: dict[str, list[tuple]] = {name: [] for name in stages}
    with ExitStack() as hooks:
        for name, stage in stages.items():
            hooks.callback(stage.register_forward_hook(_noting(seen[name])).remove)
        yield seen


def _noting(calls: list[tuple]) -> Callable:
    return lambda module, inputs, output: calls.append(inputs)
