"""The names that the tool that made a file gives to the tensors of its generator."""

from collections.abc import Sequence
from typing import Any

from rewrite.checkpoints.archives import tensors
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.made import Made
from rewrite.checkpoints.tensors import Placed

NamePath = tuple[str, ...]
"""The keys of dictionaries inside one another; the last is the tensor's name."""


def own_names(content: Any, candidate: Candidate, places: Sequence[Placed]) -> dict[NamePath, Placed]:
    """All tensors of the generator in a file by the tool's own names; in the order of the file.

    Tensors of a module that was pickled have the names of its state dict. What lies beside those that our network reads
    (fixed filters, for instance) belongs to the generator too, but not what belongs to other networks.

    Args:
        content: What the file holds.
        candidate: The generator in it.
        places: The tensors that our network is filled with. Nothing is named if there are none.
    """
    if not places:
        return {}
    path = () if isinstance(candidate.content, Made) else candidate.path
    own = {(*path, candidate.names[short]): tensor for short, tensor in candidate.state.items()}
    missing = {tensor.where for tensor in places} - {tensor.where for tensor in own.values()}
    beside = {path: tensor for path, tensor in tensors(content) if path and tensor.where in missing}
    return own | {path: tensor for path, tensor in beside.items() if all(isinstance(key, str) for key in path)}
