"""Running a user's network up to one of its parts, and on from there.

Where torch.fx can trace the network, only what follows the part runs again; where it cannot (a path that depends on the
numbers, an output that is no tensor), the whole network does, with the part's output replaced by a hook.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

# Trained networks differ by less when their batch differs; more is a path that was traced wrongly.
ALIKE = 1e-4


class Stopped(NamedTuple):
    """A run that stopped at one part.

    Attributes:
        state: What the rest of the run needs beside the part's output.
        read: What entered the part.
        output: What it gave.
    """

    state: Any
    read: Tensor
    output: Tensor


class PartRun(ABC):
    """Runs of one network that stop at one part."""

    @abstractmethod
    def upto(self, inputs: Tensor) -> Stopped:
        """Run up to the part, and the part itself."""

    @abstractmethod
    def onward(self, state: Any, output: Tensor) -> Any:
        """Go on from what the part gives to what the network gives."""


class TracedRun(PartRun):
    """Runs by the network's graph: nothing before the part runs twice.

    Args:
        module: The network.
        name: Path of the part.

    Raises:
        ValueError: The graph shows no single run of the part.
        Exception: The network cannot be traced; torch.fx raises many kinds.
    """

    def __init__(self, module: nn.Module, name: str):
        self.graph = fx.GraphModule(module, _Tracer(name).trace(module))
        nodes = list(self.graph.graph.nodes)
        found = [node for node in nodes if node.op == "call_module" and node.target == name]
        if len(found) != 1:
            raise ValueError(f"part {name} runs {len(found)} times")
        self.part = found[0]
        at = nodes.index(self.part)
        self.before, self.after = nodes[:at], nodes[at + 1 :]
        self.needed = {read for node in self.after for read in node.all_input_nodes} & set(self.before)

    def upto(self, inputs: Tensor) -> Stopped:
        run = fx.Interpreter(self.graph)
        run.args_iter, run.env = iter([inputs]), {}
        for node in self.before:
            run.env[node] = run.run_node(node)
            for dead in run.user_to_last_uses.get(node, []):
                if dead not in self.needed:
                    run.env.pop(dead, None)
        given, _ = run.fetch_args_kwargs_from_env(self.part)
        output = run.run_node(self.part)
        return Stopped({node: run.env[node] for node in self.needed}, given[0], output)

    def onward(self, state: Any, output: Tensor) -> Any:
        run = fx.Interpreter(self.graph)
        run.env = {**state, self.part: output}
        for node in self.after:
            run.env[node] = run.run_node(node)
            for dead in run.user_to_last_uses.get(node, []):
                run.env.pop(dead, None)
            if node.op == "output":
                return run.env[node]
        raise AssertionError("a graph ends with its output")


class _Tracer(fx.Tracer):
    """Traces into a user's modules, but not into the part."""

    def __init__(self, part: str):
        super().__init__()
        self.part = part

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name == self.part or super().is_leaf_module(m, module_qualified_name)


class HookedRun(PartRun):
    """Runs by hooks, from the beginning each time.

    Args:
        module: The network.
        name: Path of the part.
    """

    def __init__(self, module: nn.Module, name: str):
        self.module, self.part = module, module.get_submodule(name)

    def upto(self, inputs: Tensor) -> Stopped:
        found: list[Stopped] = []

        def stop(module: nn.Module, given: tuple, output: Any) -> None:
            found.append(Stopped(inputs, given[0], output))
            raise _Reached

        handle = self.part.register_forward_hook(stop)
        try:
            self.module(inputs)
        except _Reached:
            return found[0]
        finally:
            handle.remove()
        raise ValueError("the part does not run")

    def onward(self, state: Any, output: Tensor) -> Any:
        handle = self.part.register_forward_hook(lambda module, given, old: output)
        try:
            return self.module(state)
        finally:
            handle.remove()


class _Reached(Exception):  # noqa: N818 (not an error: it ends a run early)
    pass


def part_run(module: nn.Module, name: str, trial: Tensor, scores: Callable[[Any], Tensor]) -> PartRun:
    """Runs that stop at a part: by the graph if that gives what the network gives, again and again; else by hooks.

    Args:
        module: The network.
        name: Path of the part.
        trial: Two inputs.
        scores: From what the network gives to scores.
    """
    try:
        run = TracedRun(module, name)
        right = all(_alike(module, run, inputs, scores) for inputs in (trial, trial[:1]))
    except Exception:  # torch.fx raises whatever the user's code raises on its proxies
        return HookedRun(module, name)
    return run if right else HookedRun(module, name)


@torch.no_grad()
def _alike(module: nn.Module, run: TracedRun, inputs: Tensor, scores: Callable[[Any], Tensor]) -> bool:
    """Whether a run in two parts gives what the whole gives, and again when it goes on once more."""
    expected, stopped = scores(module(inputs)), run.upto(inputs)
    found = [scores(run.onward(stopped.state, stopped.output.clone())) for _ in range(2)]
    allowed = ALIKE * expected.abs().max()
    return all(bool((each - expected).abs().max() <= allowed) for each in found)
