"""Objects of NVIDIA's PyTorch repositories: pickled modules that carry their own source code.

The source code is never run: an object is read as the class name, the constructor's arguments and the state that stand
beside it, and its tensors are found by walking through its modules.
"""

from collections.abc import Iterator
from typing import Any

from torch import nn

from rewrite.checkpoints.archives import DEEPEST, Archive
from rewrite.checkpoints.budget import MOST_PATHS, Budget
from rewrite.checkpoints.cursor import DamagedError
from rewrite.checkpoints.made import Made, Named
from rewrite.checkpoints.states import BY_HAND
from rewrite.checkpoints.tensors import Placed
from rewrite.storage.quoting import named, quoted

GENERATOR, FILTERS = "Generator", ("resample_filter", "up_filter", "down_filter")
# Steps that a module costs, however few tensors it has.
MODULE = 4
PERSISTENT = Named("torch_utils.persistence", "_reconstruct_persistent_obj")


def network_of(content: Any, name: str) -> Made | None:
    """The network of this name in a file's content, or the one that stands alone; None if there is none."""
    found = content.get(name) if isinstance(content, dict) else content
    return found if is_network(found) else None


def is_network(value: Any) -> bool:
    """Whether something is a module that carries its own source code."""
    return isinstance(value, Made) and value.named == PERSISTENT and is_module(value)


def is_module(value: Any) -> bool:
    """Whether something is a pickled module, of whatever class."""
    return "_modules" in attributes_of(value)


def _meta(made: Any) -> dict:
    meta = made.arguments[0] if isinstance(made, Made) and made.arguments else None
    return meta if isinstance(meta, dict) else {}


def class_name(made: Any) -> str:
    """The name of the object's class."""
    return named(_meta(made).get("class_name", "network"))


def check_class(archive: Archive, network: Made) -> None:
    """Refuse a generator of another class than NVIDIA's own: a subclass may compute something else from equal tensors.

    Raises:
        ValueError: It is one.
    """
    if class_name(network) != GENERATOR:
        raise ValueError(
            f"{archive.path} holds a {class_name(network)}, which is another class than NVIDIA's {GENERATOR} and is "
            f"not read here: {BY_HAND}"
        )


def check_known(archive: Archive, network: Made, built: nn.Module) -> None:
    """Refuse a generator with tensors that ours has no use for, but for fixed filters.

    Raises:
        ValueError: It has.
    """
    ours = set(built.state_dict())
    more = [name for name, _ in tensors_of(network) if name not in ours and not name.endswith(FILTERS)]
    if more:
        raise ValueError(f"{archive.path} holds {more[0]}, for which a {GENERATOR} of NVIDIA's has no use; {BY_HAND}")


def attributes_of(made: Any) -> dict:
    """The attributes of a module: of a persistent one from its description, of a plain one from its state."""
    state = (
        _meta(made).get("state")
        if isinstance(made, Made) and made.named == PERSISTENT
        else getattr(made, "state", None)
    )
    return state if isinstance(state, dict) else {}


def child_of(made: Any, name: str) -> Any:
    """A module inside a module, None if there is no such."""
    modules = attributes_of(made).get("_modules")
    return modules.get(name) if isinstance(modules, dict) else None


def tensors_of(made: Any, budget: Budget | None = None) -> Iterator[tuple[str, Placed]]:
    """All parameters and buffers by their paths.

    Args:
        made: A module.
        budget: What the walk may cost; enough for any network if left out.

    Raises:
        DamagedError: Modules are nested too deeply, or shared so that there is no end of paths.
    """
    yield from _tensors_of(made, "", 0, budget or Budget(MOST_PATHS))


def _tensors_of(made: Any, prefix: str, depth: int, budget: Budget) -> Iterator[tuple[str, Placed]]:
    budget.spend(MODULE)
    budget.letters(len(prefix))
    if depth > DEEPEST:
        raise DamagedError("its network is nested too deeply")
    attributes = attributes_of(made)
    for kind in ("_parameters", "_buffers"):
        for name, tensor in (attributes.get(kind) or {}).items():
            budget.letters(len(prefix))
            if isinstance(tensor, Placed):
                yield f"{prefix}{name}", tensor
    for name, child in (attributes.get("_modules") or {}).items():
        yield from _tensors_of(child, f"{prefix}{name}.", depth + 1, budget)


def modules_of(made: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Made]]:
    """All modules inside a module by their paths, and the module itself."""
    if depth > DEEPEST:
        raise ValueError("the network is nested too deeply")
    if isinstance(made, Made):
        yield prefix, made
        for name, child in (attributes_of(made).get("_modules") or {}).items():
            yield from modules_of(child, f"{prefix}.{name}".lstrip("."), depth + 1)


def whole(value: Any) -> int:
    """A count in a file, checked."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 2**16:
        raise ValueError(f"a size in the file is not valid: {quoted(value)}")
    return value


def limit(value: Any) -> float | None:
    """A limit in a file; None for none."""
    return None if value is None else float(value)
